"""The README's picture: the top of a run's report, as headless Chromium shows it.

    astroctl report quickstart
    python docs/images/screenshot.py REPORT.html docs/images/report.png

Takes any report of a real run; Chromium must be on the path.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1000)
    parser.add_argument("--height", type=int, default=1400)
    options = parser.parse_args()
    browser = next((found for name in NAMES if (found := shutil.which(name))), None)
    if browser is None:
        print(f"no browser: one of {', '.join(NAMES)} is needed on the path", file=sys.stderr)
        return 3
    if not options.report.is_file():
        print(
            f"{options.report} is no file; `astroctl report RUN` prints where it is",
            file=sys.stderr,
        )
        return 3
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--window-size={options.width},{options.height}"]
    command += [f"--screenshot={options.picture.resolve()}", options.report.resolve().as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    print(options.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
