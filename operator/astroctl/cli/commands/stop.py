"""``astroctl stop``."""

from __future__ import annotations

from typing import Any

import click

from astroctl.cli.command import command as make
from astroctl.cli.options import (
    output_option,
    run_argument,
    run_options,
    where_from,
    where_options,
)
from astroctl.cli.output import emit, say


@make("stop", "astroctl stop astro-mini\nastroctl stop astro-8b --checkpoint")
@run_argument()
@run_options
@where_options
@click.option(
    "--checkpoint",
    is_flag=True,
    help="Let a training take a checkpoint before it ends. On Kubernetes it does so anyway; there "
    "this fails if none was taken.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds to wait for the driver to end  [default: 60; with a checkpoint or on Kubernetes "
    "300]",
)
@output_option
def command(
    name: str,
    namespace: str | None,
    storage: str | None,
    checkpoint: bool,
    timeout: float | None,
    output: str,
    **where: Any,
) -> None:
    """Stop a run. Its finished stages and checkpoints stay; `resume` goes on from there.

    On Kubernetes this suspends the job: its pods go, the job and its run directory stay.
    """
    from astroctl.runs.choose import runs_of
    from astroctl.runs.find import find

    record = find(name, namespace, storage, where_from(where))
    state = runs_of(record).stop(record, timeout, checkpoint=checkpoint)
    if state.phase in ("stopped", "suspended"):
        say(f"go on with it: astroctl resume {record.called}")
    emit(output, state.to_dict(), lambda: f"{record.key}: {state.phase}")
