"""``astroctl logs``."""

from __future__ import annotations

from typing import Any

import click

from astroctl.cli.command import command as make
from astroctl.cli.options import (
    complete_stages,
    run_argument,
    run_options,
    where_from,
    where_options,
)


@make("logs", "astroctl logs astro-mini -f\nastroctl logs astro-mini --stage cpt --rank 1")
@run_argument(required=False)
@run_options
@where_options
@click.option("-f", "--follow", is_flag=True, help="Go on until the run is over.")
@click.option("--stage", shell_complete=complete_stages, help="Only this stage's log files.")
@click.option("--rank", type=click.IntRange(min=0), help="Only this worker's log files.")
def command(
    name: str | None,
    namespace: str | None,
    storage: str | None,
    follow: bool,
    stage: str | None,
    rank: int | None,
    **where: Any,
) -> None:
    """Show a run's logs; without a name, of the run submitted last.

    The driver's output while the cluster has it; else, or with --stage or --rank, the log files of
    the run directory. On Kubernetes -f goes on over new attempts, and where no driver started, the
    head pod's log and events are shown.
    """
    from astroctl.runs.choose import runs_of
    from astroctl.runs.find import find
    from astroctl.runs.logs import tail

    record = find(name, namespace, storage, where_from(where))
    runs = runs_of(record)
    source = runs.logs(record, stage, rank)
    view = (lambda: runs.view(record)) if follow else None
    for text in tail(source, view, runs.log_seconds):
        click.echo(text, nl=False)
