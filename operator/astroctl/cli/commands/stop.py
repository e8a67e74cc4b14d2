"""``astroctl stop``."""

from __future__ import annotations

import click

from astroctl.cli.command import command as make
from astroctl.cli.options import output_option, run_argument, run_options
from astroctl.cli.output import emit, say


@make("stop", "astroctl stop astro-mini")
@run_argument()
@run_options
@click.option("--timeout", default=60.0, help="Seconds to wait for the driver to end.")
@output_option
def command(name: str, namespace: str, storage: str | None, timeout: float, output: str) -> None:
    """Stop a run. Its finished stages and checkpoints stay; `resume` goes on from there."""
    from astroctl.runs.find import find
    from astroctl.runs.stopping import stop

    record = find(name, namespace, storage)
    state = stop(record, timeout)
    if state.phase == "stopped":
        say(f"go on with it: astroctl resume {record.name}")
    emit(output, state.to_dict(), lambda: f"{record.key}: {state.phase}")
