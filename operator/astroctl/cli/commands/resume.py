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
    set_option,
    target_from,
    target_options,
)
from astroctl.cli.output import emit, say


@make(
    "resume",
    "astroctl resume astro-mini --follow\nastroctl resume astro-8b -f job.yaml --target kubernetes",
)
@run_argument()
@run_options
@click.option(
    "--stages",
    metavar="A,B",
    shell_complete=complete_stages,
    help="Run these stages  [default: those submitted first]",
)
@click.option("--all", "whole", is_flag=True, help="Run every stage of the job.")
@click.option(
    "-f",
    "--file",
    type=click.Path(dir_okay=False),
    help="Go on with this changed run file; elsewhere than on Kubernetes it may only change where "
    "the run goes on (spec.cluster, spec.retry) and how a training is carried out (zero, "
    "checkpoint, watchdog, microBatchSize, …).",
)
@set_option
@target_options
@click.option("--follow", is_flag=True, help="Show progress until the run is over.")
@output_option
def command(
    name: str,
    namespace: str | None,
    storage: str | None,
    stages: str | None,
    whole: bool,
    file: str | None,
    overrides: tuple[str, ...],
    follow: bool,
    output: str,
    **options: Any,
) -> None:
    """Go on with a run that stopped, failed or was interrupted.

    Finished stages are skipped; training goes on from its last checkpoint. Runs where it ran
    before, unless a target is given.
    """
    from astroctl.cli.submitting import started
    from astroctl.runs.choose import runs_of, runs_on
    from astroctl.runs.find import Where, find

    given = options["target"] or any(
        options[k] for k in ("address", "dashboard_port", "context", "kubeconfig")
    )
    target = target_from({**options, "namespace": namespace}) if given else None
    in_cluster = target is not None and target.name == "kubernetes"
    where = (
        Where("kubernetes", options["context"], options["kubeconfig"]) if in_cluster else Where()
    )
    record = find(name, namespace, storage, where)
    known = runs_of(record)
    job = None
    if file:
        job = _changed(file, overrides, record)
    elif overrides:
        job = _overridden(known.job(record), overrides)
    record = dataclasses.replace(
        record, stages=_stages(record, job or known.job(record), stages, whole)
    )
    if job is None and not known.unfinished(record):
        say(f"nothing to do: {', '.join(record.stages)} of {record.name} finished already")
        data = {"name": record.name, "namespace": record.namespace, "started": False}
        emit(output, data, lambda: f"see: astroctl status {record.called}")
        return
    runs = runs_on(target) if target is not None else known
    record, warnings = runs.resume(record, job)
    started(record, warnings, runs, follow_it=follow, output=output)


def _overridden(job: Any, overrides: tuple[str, ...]) -> Any:
    """The run's own job with fields set anew."""
    from astrosage.spec.load import apply_override, parse

    data = job.to_yaml_dict()
    for item in overrides:
        apply_override(data, item)
    return parse(data, source="--set")


def _changed(file: str, overrides: tuple[str, ...], record: Any) -> Any:
    """The changed run file, for the run that is meant."""
    from astrosage.errors import SpecError
    from astrosage.spec.load import load

    job = load(file, overrides)
    if job.metadata.name != record.name:
        raise SpecError(
            f"{file}: metadata.name is `{job.metadata.name}`, the run is `{record.name}`",
            "name the run that the file is of",
        )
    return job.model_copy(
        update={"metadata": job.metadata.model_copy(update={"namespace": record.namespace})}
    )


def _stages(record: Any, job: Any, given: str | None, whole: bool) -> list[str]:
    from astrosage.errors import SpecError
    from astrosage.spec import graph
    from astrosage.spec.base import did_you_mean

    every = [s.name for s in graph.order(job)]
    if whole or not (given or record.stages):
        return every
    if given is None:
        return [n for n in every if n in record.stages]
    wanted = [n.strip() for n in given.split(",") if n.strip()]
    for n in wanted:
        if n not in every:
            raise SpecError(
                f"--stages: the run `{record.name}` has no stage `{n}`", did_you_mean(n, every)
            )
    return [n for n in every if n in wanted]
