"""``astroctl doctor``."""

from __future__ import annotations

import click

from astroctl.cli.command import command as make
from astroctl.cli.options import output_option
from astroctl.cli.output import emit


@make("doctor", "astroctl doctor --storage ./runs")
@click.option("--storage", default="./runs", help="The storage to check.")
@output_option
@click.pass_context
def command(context: click.Context, storage: str, output: str) -> None:
    """Check this machine, the installation and the local cluster.

    The exit code is 1 if a check fails.
    """
    from astroctl.cli.checks import run_checks

    results = run_checks(storage)

    def text() -> str:
        lines = []
        for r in results:
            lines.append(f"{r.state:<5}{r.name}: {r.found}")
            if r.remedy:
                lines.append(f"     -> {r.remedy}")
        return "\n".join(lines)

    emit(output, [r.to_dict() for r in results], text)
    if any(r.state == "fail" for r in results):
        context.exit(1)
