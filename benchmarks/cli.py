"""Wall time of ``astroctl --help`` and ``astroctl status``: the median of ten runs each.

python benchmarks/cli.py
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from astrosage.runs.directory import RunDirectory
from astrosage.spec.load import load

ROOT = Path(__file__).resolve().parent.parent
ASTROCTL = Path(sys.executable).parent / "astroctl"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="bench-cli-") as folder:
        storage = f"{folder}/runs"
        job = load(ROOT / "examples/quickstart.yaml", [f"spec.storage={storage}"])
        run = RunDirectory.of(job)
        run.create(job)
        run.write_progress({"phase": "stopped", "stages": [], "stage": None, "error": None})
        environment = dict(os.environ, ASTROCTL_HOME=f"{folder}/home")
        commands = {
            "astroctl --help": ["--help"],
            "astroctl status": ["status", "quickstart", "--storage", storage],
        }
        print(json.dumps({k: milliseconds(v, environment) for k, v in commands.items()}, indent=2))
    return 0


def milliseconds(arguments: list[str], environment: dict[str, str], runs: int = 10) -> object:
    times = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        subprocess.run(
            [str(ASTROCTL), *arguments], env=environment, check=True, stdout=subprocess.DEVNULL
        )
        times.append(1000 * (time.perf_counter() - began))
    counted = sorted(times[1:])  # the first one warms the file cache
    return {
        "medianMs": round(statistics.median(counted)),
        "minMs": round(counted[0]),
        "maxMs": round(counted[-1]),
    }


if __name__ == "__main__":
    sys.exit(main())
