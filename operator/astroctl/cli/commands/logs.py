"""``astroctl logs``."""

from __future__ import annotations

import click

from astroctl.cli.command import command as make
from astroctl.cli.options import complete_stages, run_argument, run_options


@make("logs", "astroctl logs astro-mini -f\nastroctl logs astro-mini --stage cpt --rank 1")
@run_argument(required=False)
@run_options
@click.option("-f", "--follow", is_flag=True, help="Go on until the run is over.")
@click.option("--stage", shell_complete=complete_stages, help="Only this stage's log files.")
@click.option("--rank", type=click.IntRange(min=0), help="Only this worker's log files.")
def command(
    name: str | None,
    namespace: str,
    storage: str | None,
    follow: bool,
    stage: str | None,
    rank: int | None,
) -> None:
    """Show a run's logs; without a name, of the run submitted last.

    The driver's output while the cluster has it; else, or with --stage or --rank, the log files of
    the run directory.
    """
    from astroctl.runs.find import find
    from astroctl.runs.logs import job_log, stage_logs, tail

    record = find(name, namespace, storage)
    if stage is None and rank is None and job_log(record) is not None:
        source = lambda: {"": job_log(record) or ""}  # noqa: E731
    else:
        source = lambda: stage_logs(record, stage, rank)  # noqa: E731
    for text in tail(record, source, follow):
        click.echo(text, nl=False)
