"""``astroctl resume``."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from astroctl.cli.command import command as make
from astroctl.cli.options import (
    complete_stages,
    output_option,
    run_argument,
    run_options,
    target_from,
    target_options,
)
from astroctl.cli.output import emit, say


@make("resume", "astroctl resume astro-mini --follow")
@run_argument()
@run_options
@click.option(
    "--stages",
    metavar="A,B",
    shell_complete=complete_stages,
    help="Run these stages  [default: those submitted first]",
)
@click.option("--all", "whole", is_flag=True, help="Run every stage of the job.")
@target_options
@click.option("--follow", is_flag=True, help="Show progress until the run is over.")
@output_option
def command(
    name: str,
    namespace: str,
    storage: str | None,
    stages: str | None,
    whole: bool,
    follow: bool,
    output: str,
    **options: Any,
) -> None:
    """Go on with a run that stopped, failed or was interrupted.

    Finished stages are skipped; training goes on from its last checkpoint. Runs where it ran
    before, unless a target is given.
    """
    from astroctl.cli.submitting import started
    from astroctl.runs import launch
    from astroctl.runs.find import find, target_of

    record = find(name, namespace, storage)
    record = dataclasses.replace(record, stages=_stages(record, stages, whole))
    if not launch.unfinished(record):
        say(f"nothing to do: {', '.join(record.stages)} of {record.name} finished already")
        data = {"name": record.name, "namespace": record.namespace, "started": False}
        emit(output, data, lambda: f"see: astroctl status {record.name}")
        return
    given = options["target"] or options["address"] or options["dashboard_port"]
    target = target_from(options) if given or not record.target else target_of(record)
    record, warnings = launch.go_on(record, target)
    started(record, warnings, follow_it=follow, output=output)


def _stages(record: Any, given: str | None, whole: bool) -> list[str]:
    from astrosage.errors import SpecError
    from astrosage.runs.directory import RunDirectory
    from astrosage.spec import graph
    from astrosage.spec.base import did_you_mean

    job = RunDirectory(record.uri).job()
    every = [s.name for s in graph.order(job)]
    if whole or not (given or record.stages):
        return every
    if given is None:
        return list(record.stages)
    wanted = [n.strip() for n in given.split(",") if n.strip()]
    for n in wanted:
        if n not in every:
            raise SpecError(
                f"--stages: the run `{record.name}` has no stage `{n}`", did_you_mean(n, every)
            )
    return [n for n in every if n in wanted]
