"""``astroctl delete``."""

from __future__ import annotations

import contextlib

import click

from astroctl.cli.command import command as make
from astroctl.cli.options import output_option, run_argument, run_options
from astroctl.cli.output import emit


@make("delete", "astroctl delete astro-mini --yes")
@run_argument()
@run_options
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output_option
def command(name: str, namespace: str, storage: str | None, yes: bool, output: str) -> None:
    """Stop a run and remove its directory, models and scores included."""
    from astroctl.runs import registry
    from astroctl.runs.find import find, target_of
    from astroctl.runs.stopping import stop
    from astrosage.errors import NotFoundError
    from astrosage.runs.directory import RunDirectory

    record = find(name, namespace, storage)
    if not yes:
        click.confirm(f"Remove the run {record.key} and all of {record.uri}?", abort=True, err=True)
    # Where the directory is gone, what is left is the registry's record.
    with contextlib.suppress(NotFoundError):
        stop(record, timeout=60.0)
    if record.submission_id:
        target_of(record).forget(record.submission_id)
    RunDirectory(record.uri).delete()
    registry.remove(record.key)
    emit(
        output,
        {"name": record.name, "namespace": record.namespace, "deleted": record.uri},
        lambda: f"removed {record.uri}",
    )
