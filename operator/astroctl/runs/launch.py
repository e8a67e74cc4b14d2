"""Submit and resume: from a checked job to a driver on a cluster, or to nothing at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from astroctl.runs import registry
from astroctl.runs.changes import changes, kept, refusal
from astroctl.runs.registry import Record
from astroctl.runs.state import RUNS_STILL, view
from astroctl.targets.base import GONE, UNKNOWN, Submission
from astroctl.targets.jobs_target import JobsTarget
from astroctl.upload.bring import bring_along
from astroctl.upload.notes import left_out
from astroctl.upload.plan import UploadPlan
from astroctl.upload.progress import Shown
from astrosage.errors import ClusterError, ConflictError, NotFoundError
from astrosage.plan import preflight
from astrosage.plan.machine import Machine
from astrosage.runs import fork
from astrosage.runs.directory import RunDirectory
from astrosage.spec import graph
from astrosage.spec.job import AstroJob
from astrosage.spec.stages import Stage


def check(job: AstroJob, stages: Sequence[Stage], target: JobsTarget) -> list[str]:
    """Preflight for a target.

    Returns:
        Warnings.

    Raises:
        AstroError: The first thing that is wrong.
    """
    machine = Machine.here() if target.name == "local" else None
    warnings = preflight.check(job, stages, machine=machine)
    target.check(job)
    return warnings


def brought(
    job: AstroJob, target: JobsTarget, *, dry_run: bool = False
) -> tuple[AstroJob, UploadPlan]:
    """The job with its local files in its storage, where the cluster does not see this disk."""
    if target.shares_disk:
        return job, UploadPlan(job.spec.storage, (), frozenset())
    return bring_along(job, dry_run=dry_run, progress=Shown())


def submit(job: AstroJob, stages: Sequence[Stage], target: JobsTarget) -> tuple[Record, list[str]]:
    """Start a new run. If that fails, nothing is left of it.

    Returns:
        The run's record, and warnings.

    Raises:
        ConflictError: If a run of that name exists; naming what changed since.
        NotFoundError: If the job is a fork of a run that is not there.
        AstroError: If the job cannot run, or the target does not take it.
    """
    directory = RunDirectory.of(job)
    if directory.exists():
        _refuse_changed(directory, job, target)
        directory.create(job)  # says what to do about it
    taken_over(job)
    target.begin()
    try:
        warnings = check(job, stages, target)
        job, uploads = brought(job, target)
        warnings += left_out(uploads)
        directory.create(job)
    except BaseException:
        target.abandon()
        raise
    record = Record(
        namespace=job.metadata.namespace,
        name=job.metadata.name,
        uri=directory.uri,
        target=target.name,
        stages=[s.name for s in stages],
    )
    try:
        return _start(record, target), warnings
    except BaseException:
        directory.delete()
        registry.remove(record.place)
        raise


def submit_only(job: AstroJob, stage: Stage, target: JobsTarget) -> tuple[Record, list[str]]:
    """Run one stage, whose inputs must be finished: in its run if that exists, else in a new one.

    Raises:
        NotFoundError: If an input is not finished.
        ConflictError: If the run was submitted with another job, or is running.
    """
    directory = RunDirectory.of(job)
    missing = [
        name
        for name in graph.dependencies(job, stage)
        if not directory.exists() or directory.finished(job.stage(name)) is None
    ]
    if missing:
        raise NotFoundError(
            f"--only {stage.name}: its input {', '.join(missing)} is not finished in "
            f"{directory.uri}",
            f"leave --only out, or submit with --until {missing[-1]} first",
        )
    if not directory.exists():
        return submit(job, [stage], target)
    _refuse_changed(directory, job, target)
    planned, _ = brought(job, target, dry_run=True)
    if directory.job().to_yaml_dict() != planned.to_yaml_dict():
        raise ConflictError(
            f"metadata.name: the run `{job.metadata.name}` in {directory.uri} was submitted with "
            "another job file",
            "undo the changes, or choose another name: --set metadata.name=…",
        )
    known = registry.get(job.key)
    if known is None:
        attempt = int(directory.progress().get("attempt") or 0)
        known = Record(job.metadata.namespace, job.metadata.name, directory.uri, attempt=attempt)
    return go_on(dataclasses.replace(known, stages=[stage.name]), target)


def _refuse_changed(directory: RunDirectory, job: AstroJob, target: JobsTarget) -> None:
    """Refuse a job whose spec is not that of the run that is there."""
    planned, _ = brought(job, target, dry_run=True)
    old = directory.job()
    if changes(old, planned):
        raise refusal(old, planned, _finished(directory, old), directory.uri)


def taken_over(job: AstroJob) -> list[str]:
    """Stages that a fork takes over from its source, as far as can be told before it runs.

    Raises:
        NotFoundError: If there is no such source.
    """
    key = job.metadata.annotations.get(fork.ANNOTATION)
    if key is None:
        return []
    source = fork.source_of(RunDirectory.of(job), job)
    if source is None:
        raise NotFoundError(
            f"--fork: there is no run `{key}` in {job.spec.storage}",
            "the run file names the run to begin from (metadata.name), --fork the new one; both "
            "are in one storage",
        )
    old = source.job()
    return kept(old, job, _finished(source, old))


def _finished(directory: RunDirectory, job: AstroJob) -> list[str]:
    return [s.name for s in job.spec.stages if directory.finished(s) is not None]


def go_on(
    record: Record, target: JobsTarget, changed: AstroJob | None = None
) -> tuple[Record, list[str]]:
    """Start another attempt at a run, in the same run directory.

    Args:
        record: The run, with the stages to run.
        target: Where.
        changed: Another job for it, which may say anew where it runs, not what it makes.

    Raises:
        ConflictError: If it is running, another version made its directory, or what it makes is
            to change.
        NotFoundError: If its directory is gone.
    """
    directory = RunDirectory(record.uri)
    job = directory.job()
    current = view(registry.get(record.place) or record)
    if current.phase in RUNS_STILL and record.attempt:
        raise ConflictError(
            f"the run `{record.name}` is {current.phase}",
            f"watch it: `astroctl status {record.name} --watch`; end it: `astroctl stop "
            f"{record.name}`",
        )
    if changed is not None:
        planned, _ = brought(changed, target, dry_run=True)
        if not all(change.is_around for change in changes(job, planned)):
            raise refusal(job, planned, _finished(directory, job), directory.uri)
        job = planned
    target.begin()
    try:
        warnings = check(job, [job.stage(n) for n in record.stages], target)
    except BaseException:
        target.abandon()
        raise
    if changed is not None:
        directory.write_job(job)
    written = int(directory.progress().get("attempt") or 0)
    record = dataclasses.replace(record, target=target.name, attempt=max(record.attempt, written))
    return _start(record, target), warnings


def _start(record: Record, target: JobsTarget) -> Record:
    """Submit the attempt after the record's, and note it."""
    attempt = record.attempt + 1
    identifier = registry.submission_id(record.namespace, record.name, attempt)
    submission = Submission(
        id=identifier,
        run_uri=record.uri,
        stages=record.stages,
        attempt=attempt,
        metadata={"run": record.key, "attempt": str(attempt), "submitter": "astroctl"},
    )
    try:
        target.submit(submission)
    except ClusterError:
        # An answer that was lost is no refusal: a job that is there was taken.
        if target.state(identifier).status in (GONE, UNKNOWN):
            raise
    record = dataclasses.replace(
        record,
        address=target.address if target.name == "ray" else "",
        attempt=attempt,
        submission_id=identifier,
        submitted=registry.now(),
    )
    registry.put(record)
    return record


def unfinished(record: Record) -> list[str]:
    """Those of the record's stages that have no finished artefact.

    Raises:
        AstroError: If the run directory cannot be read, or another version made it.
    """
    directory = RunDirectory(record.uri)
    job = directory.job()
    return [n for n in record.stages if directory.finished(job.stage(n)) is None]
