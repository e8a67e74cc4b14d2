"""What ``submit``, ``resume`` and ``bench`` do after the stages are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from astroctl.cli.closing import closing, summaries
from astroctl.cli.follow import follow
from astroctl.cli.output import emit, say, table, warn
from astroctl.runs import launch
from astroctl.runs.registry import Record
from astroctl.targets.jobs_target import JobsTarget
from astrosage.runs.directory import RunDirectory
from astrosage.spec.job import AstroJob
from astrosage.spec.stages import Stage


def show_plan(job: AstroJob, stages: Sequence[Stage], target: JobsTarget, output: str) -> None:
    """Print the resolved job and what would run."""
    warn(launch.check(job, stages, target))
    directory = RunDirectory.of(job)
    exists = directory.exists()
    chosen = {s.name for s in stages}
    plan = []
    for stage in job.spec.stages:
        done = exists and directory.finished(stage) is not None
        what = "finished" if done else "run" if stage.name in chosen else "leave out"
        plan.append({"name": stage.name, "kind": stage.kind, "state": what})
    if exists:
        say(
            f"note: a run `{job.metadata.name}` exists in {directory.uri}; submit would be "
            f"refused, `astroctl resume {job.metadata.name}` goes on with it"
        )
    data = {
        "directory": directory.uri,
        "target": target.name,
        "exists": exists,
        "stages": plan,
        "job": job.to_yaml_dict(),
    }

    def text() -> str:
        shown = yaml.safe_dump(job.to_yaml_dict(), sort_keys=False, allow_unicode=True)
        rows = [[s["name"], s["kind"], s["state"]] for s in plan]
        return f"{shown}\n{table(['STAGE', 'KIND', 'STATE'], rows)}\n\nto {directory.uri}"

    emit(output, data, text)


def start(
    job: AstroJob,
    stages: Sequence[Stage],
    target: JobsTarget,
    options: dict[str, Any],
    *,
    only: bool = False,
) -> None:
    """Submit, and follow if wanted."""
    record, warnings = (
        launch.submit_only(job, stages[0], target) if only else launch.submit(job, stages, target)
    )
    started(record, warnings, follow_it=options["follow"], output=options["output"])


def started(record: Record, warnings: Sequence[str], *, follow_it: bool, output: str) -> None:
    """Say that a run has started; follow it if wanted, and close with its scores."""
    warn(warnings)
    name = record.name if record.namespace == "default" else record.key
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
    state = follow(record)
    data |= {"phase": state.phase, "scores": summaries(RunDirectory(record.uri))}
    emit(output, data, lambda: closing(record))
