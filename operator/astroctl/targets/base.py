"""What the command line asks of a place that runs jobs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from astrosage.spec.job import AstroJob

GONE = "GONE"
UNKNOWN = "UNKNOWN"
ACTIVE = ("PENDING", "RUNNING")


@dataclass(frozen=True)
class Submission:
    """One attempt at a run.

    Attributes:
        id: Ray's submission id, ``<namespace>-<name>-<attempt>``.
        run_uri: The run directory.
        stages: Names of the stages to run, in order.
        attempt: From 1.
        metadata: Shown next to the job in Ray.
        environment: Environment variables for the driver and all that it starts.
    """

    id: str
    run_uri: str
    stages: list[str]
    attempt: int
    metadata: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class JobState:
    """What the target knows of a submission.

    Attributes:
        status: Ray's PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED; ``GONE`` if the cluster does
            not run or does not know the job, ``UNKNOWN`` if it cannot be asked.
        message: Why, in words.
    """

    status: str
    message: str = ""


class Target(Protocol):
    """A place that runs jobs."""

    name: str

    @property
    def address(self) -> str:
        """Where its API answers; empty while nothing runs."""

    def begin(self) -> None:
        """Start what takes time, without waiting for it."""

    def abandon(self) -> None:
        """Undo :meth:`begin`, since nothing will be submitted."""

    def check(self, job: AstroJob) -> None:
        """Refuse a job that cannot run there, before anything is written."""

    def submit(self, submission: Submission) -> None:
        """Start a job; returns when the cluster has taken it."""

    def state(self, submission_id: str) -> JobState:
        """What became of it; never raises for a cluster that is not there."""

    def logs(self, submission_id: str) -> str | None:
        """The driver's output so far; None where the cluster has none."""

    def stop(self, submission_id: str) -> None:
        """Ask a job to stop."""

    def forget(self, submission_id: str) -> None:
        """Remove a finished job's record."""
