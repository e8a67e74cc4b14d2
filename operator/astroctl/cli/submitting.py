"""What ``submit``, ``resume`` and ``bench`` do after the stages are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from astroctl.cli.closing import closing, summaries
from astroctl.cli.follow import follow
from astroctl.cli.output import emit, say, table, warn
from astroctl.runs.base import Runs
from astroctl.runs.registry import Record
from astrosage.errors import AstroError, SpecError
from astrosage.runs.fork import ANNOTATION
from astrosage.spec.job import AstroJob
from astrosage.spec.load import parse
from astrosage.spec.stages import Stage


def show_plan(job: AstroJob, stages: Sequence[Stage], runs: Runs, output: str) -> None:
    """Print the resolved job and what would run."""
    plan = runs.plan(job, stages)
    warn(plan.warnings)
    if plan.exists:
        name = job.metadata.name
        say(
            f"note: a run `{name}` exists in {plan.directory}; submit would be refused, "
            f"`astroctl resume {name}` goes on with it"
        )
    for note in plan.notes:
        say(f"note: {note}")
    data = {
        "directory": plan.directory,
        "target": runs.target,
        "exists": plan.exists,
        "stages": plan.stages,
        "job": plan.job.to_yaml_dict(),
        **plan.data,
    }

    def text() -> str:
        shown = yaml.safe_dump(plan.job.to_yaml_dict(), sort_keys=False, allow_unicode=True)
        rows = [[s["name"], s["kind"], s["state"]] for s in plan.stages]
        return f"{shown}\n{table(['STAGE', 'KIND', 'STATE'], rows)}\n\nto {plan.directory}"

    emit(output, data, text)


def start(
    job: AstroJob,
    stages: Sequence[Stage],
    runs: Runs,
    options: dict[str, Any],
    *,
    only: bool = False,
) -> None:
    """Submit, and follow if wanted."""
    source = job.metadata.annotations.get(ANNOTATION)
    plan = runs.plan(job, stages) if source else None
    record, warnings = runs.submit(job, stages, only=only)
    if plan is not None:
        taken = [s["name"] for s in plan.stages if s["state"] == "take over"]
        say(f"fork of {source}: takes over {', '.join(taken) or 'nothing'}")
    started(record, warnings, runs, follow_it=options["follow"], output=options["output"])


def forked(job: AstroJob, name: str) -> AstroJob:
    """The job as a new run that begins with the finished stages of the run of its name.

    Raises:
        SpecError: If the new name cannot be one.
    """
    if name == job.metadata.name:
        raise SpecError(
            f"--fork: the run file is of `{name}` itself", "give the new run a name of its own"
        )
    annotations = {**job.metadata.annotations, ANNOTATION: job.key}
    data = job.to_yaml_dict()
    data["metadata"] |= {"name": name, "annotations": annotations}
    return parse(data, source=f"--fork {name}")


def started(
    record: Record, warnings: Sequence[str], runs: Runs, *, follow_it: bool, output: str
) -> None:
    """Say that a run has started; follow it if wanted, and close with its scores."""
    warn(warnings)
    name = record.called
    say(f"run {name} started ({record.submission_id}): {', '.join(record.stages)}")
    data: dict[str, Any] = {
        "name": record.name,
        "namespace": record.namespace,
        "directory": record.uri,
        "target": record.target,
        "submissionId": record.submission_id,
        "attempt": record.attempt,
        "stages": record.stages,
    }
    if not follow_it:
        emit(output, data, lambda: f"follow it: astroctl status {name} --watch")
        return
    data["phase"] = follow(record).phase
    try:
        directory = runs.directory(record)
        data["scores"], text = summaries(directory), closing(record, directory)
    except AstroError as error:
        # The run went well, even if this machine cannot reach what it left.
        warn([f"the scores cannot be read from here: {error.message}"])
        text = f"{name} succeeded; all of it is in {record.uri}"
    emit(output, data, lambda: text)
