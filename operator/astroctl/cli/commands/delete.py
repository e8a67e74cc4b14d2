"""``astroctl delete``."""

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
from astroctl.cli.output import emit


@make("delete", "astroctl delete astro-mini --yes\nastroctl delete astro-8b --purge")
@run_argument()
@run_options
@where_options
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--purge",
    is_flag=True,
    help="Kubernetes: remove the run directory too (elsewhere it always goes).",
)
@output_option
def command(
    name: str,
    namespace: str | None,
    storage: str | None,
    yes: bool,
    purge: bool,
    output: str,
    **where: Any,
) -> None:
    """Stop a run and remove it.

    On this machine and on a Ray cluster its directory goes with it, models and scores included.
    On Kubernetes the AstroJob goes, with its pods and Secret; the run directory stays in the
    storage, for other jobs and people may read it, unless --purge is given. Uploaded files, which
    runs may share, always stay.
    """
    from astroctl.runs.choose import runs_of
    from astroctl.runs.find import find

    record = find(name, namespace, storage, where_from(where))
    directory = purge or record.target != "kubernetes"
    if not yes:
        what = f"the run {record.key}" + (f" and all of {record.uri}" if directory else "")
        click.confirm(f"Remove {what}?", abort=True, err=True)
    said = runs_of(record).delete(record, purge=purge)
    data = {
        "name": record.name,
        "namespace": record.namespace,
        "deleted": record.uri if directory else record.key,
        "kept": None if directory else record.uri,
    }
    emit(output, data, lambda: said)
