"""The command line. ``astroctl.cli:main`` is the entry point.

Nothing heavy is imported until a command runs: `--help` must answer at once.
"""

from __future__ import annotations

from astroctl.cli.group import RootGroup

cli = RootGroup()


def main() -> None:
    """Run the command line and exit with the error family's code."""
    cli.main(prog_name="astroctl")
