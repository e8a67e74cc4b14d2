"""What a run is doing: the run directory's account, checked against the cluster's."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from astroctl.runs.registry import Record
from astroctl.targets.base import ACTIVE, GONE, UNKNOWN, JobState
from astroctl.targets.jobs_target import JobsTarget
from astrosage.errors import NotFoundError
from astrosage.runs.directory import RunDirectory

HEARTBEAT_SECONDS = 60.0
FINAL = ("succeeded", "failed", "stopped")
RUNS_STILL = ("pending", "running")


@dataclass(frozen=True)
class View:
    """A run's state.

    Attributes:
        record: The run.
        phase: pending, running, succeeded, failed, stopped, suspended (Kubernetes), or interrupted
            (the driver is gone without a last word).
        progress: progress.json; empty before the driver's first report.
        job: The cluster's account.
        note: What is odd, in words; empty if nothing is.
        hint: What to do; empty if nothing is to be done.
        conditions: The operator's conditions (Kubernetes).
        ray_jobs: The RayJobs of the run's groups of stages (Kubernetes).
        events: What happened lately, oldest first (Kubernetes).
    """

    record: Record
    phase: str
    progress: dict[str, Any]
    job: JobState
    note: str = ""
    hint: str = ""
    conditions: list[dict[str, Any]] = field(default_factory=list)
    ray_jobs: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def error(self) -> dict[str, Any] | None:
        """The error that ended the run."""
        found = self.progress.get("error")
        return found if self.phase == "failed" and isinstance(found, dict) else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON and YAML."""
        return {
            "name": self.record.name,
            "namespace": self.record.namespace,
            "phase": self.phase,
            "note": self.note or None,
            "hint": self.hint or None,
            "directory": self.record.uri,
            "target": self.record.target or None,
            "submissionId": self.record.submission_id or None,
            "jobStatus": self.job.status,
            "progress": self.progress,
            **{
                name: value
                for name, value in (
                    ("conditions", self.conditions),
                    ("rayJobs", self.ray_jobs),
                    ("events", self.events),
                )
                if value
            },
        }


def view(record: Record) -> View:
    """The run's state now, wherever it runs. Works without a cluster.

    Raises:
        NotFoundError: If the run is gone.
    """
    from astroctl.runs.choose import runs_of

    return runs_of(record).view(record)


def account(record: Record, target: JobsTarget) -> View:
    """The state of a run on a Ray cluster.

    Raises:
        NotFoundError: If the run directory is gone.
    """
    directory = RunDirectory(record.uri)
    job = target.state(record.submission_id) if record.submission_id else JobState(GONE)
    # The directory is read after the cluster: a driver writes its last word before it ends.
    progress = directory.progress()
    if not progress and not directory.exists():
        raise NotFoundError(
            f"the run directory {record.uri} is gone",
            f"`astroctl delete {record.name}` forgets the run",
        )
    return assess(record, progress, job, time.time())


def assess(record: Record, progress: dict[str, Any], job: JobState, now: float) -> View:
    """Join both accounts of a run.

    Args:
        record: The run.
        progress: The run directory's account.
        job: The cluster's.
        now: Seconds since the epoch.
    """
    if int(progress.get("attempt") or 0) < record.attempt:
        # What is written is an earlier attempt's: of this one only the cluster can tell.
        return _before_first_report(record, progress, job)
    phase = str(progress.get("phase") or "pending")
    if phase in FINAL:
        hint = _resume(record) if phase != "succeeded" else ""
        return View(record, phase, progress, job, hint=hint)
    age = now - float(progress.get("heartbeat") or 0.0)
    if job.status in ACTIVE:
        note = f"no sign of life for {age:.0f} s" if age > HEARTBEAT_SECONDS else ""
        hint = f"astroctl logs {record.name}" if note else ""
        return View(record, phase, progress, job, note, hint)
    if job.status == UNKNOWN and age <= HEARTBEAT_SECONDS:
        return View(record, phase, progress, job, job.message)
    if job.status == "STOPPED":
        return View(record, "stopped", progress, job, hint=_resume(record))
    why = {
        GONE: job.message or "the cluster is gone",
        UNKNOWN: f"no sign of life for {age:.0f} s, and {job.message}",
    }.get(job.status, f"the driver ended without a last word (job {job.status}: {job.message})")
    return View(record, "interrupted", progress, job, why, _resume(record))


def _before_first_report(record: Record, progress: dict[str, Any], job: JobState) -> View:
    stale = {k: v for k, v in progress.items() if k == "stages"}
    if job.status in ACTIVE:
        return View(record, "pending", {}, job)
    if job.status == UNKNOWN:
        return View(record, "pending", {}, job, job.message)
    if job.status == "STOPPED":
        return View(record, "stopped", stale, job, hint=_resume(record))
    why = (
        job.message or "the cluster is gone"
        if job.status == GONE
        else f"the driver ended before its first report (job {job.status}: {job.message})"
    )
    return View(record, "interrupted", stale, job, why, f"astroctl logs {record.name}")


def _resume(record: Record) -> str:
    return f"astroctl resume {record.name}"
