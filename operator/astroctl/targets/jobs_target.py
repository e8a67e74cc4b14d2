"""What every target with a Jobs API has in common."""

from __future__ import annotations

import shlex
import time
from abc import ABC, abstractmethod
from typing import Any

from astroctl.targets.base import ACTIVE, GONE, UNKNOWN, JobState, Submission
from astroctl.targets.jobs_api import JobsApi
from astrosage.errors import ClusterError, ConflictError
from astrosage.spec.job import AstroJob

# The driver writes down that it was stopped; Ray's own 3 s are short for a slow object store.
_STOP_SECONDS = "20"
_RECORD_SECONDS = 20.0
_POLL_SECONDS = 0.2


class JobsTarget(ABC):
    """A Ray cluster; subclasses say where it is and what a job needs there."""

    name: str
    python: str
    shares_disk = True
    """Whether its nodes see this machine's paths; if not, what a job names is uploaded."""

    @property
    @abstractmethod
    def address(self) -> str:
        """Where its API answers; empty while nothing runs."""

    @abstractmethod
    def api(self) -> JobsApi:
        """The running cluster's API, waiting for one that is starting.

        Raises:
            ClusterError: If there is none.
        """

    def begin(self) -> None:  # noqa: B027
        """Nothing takes time where the cluster runs already."""

    def abandon(self) -> None:  # noqa: B027
        """Nothing was begun."""

    def check(self, job: AstroJob) -> None:  # noqa: B027
        """Every job can run."""

    def code(self) -> str | None:
        """URI of the code package that the cluster needs; None where it has the code."""
        return None

    def runtime_env(self, submission: Submission) -> dict[str, Any]:
        """Ray's runtime environment for a job."""
        variables = {"RAY_JOB_STOP_WAIT_TIME_S": _STOP_SECONDS, **submission.environment}
        return {"env_vars": variables}

    def entrypoint(self, submission: Submission) -> str:
        """The driver's command line; it carries no secrets."""
        return shlex.join(
            [
                *(self.python, "-m", "ray_jobs.pipeline", submission.run_uri),
                *("--stages", ",".join(submission.stages)),
                *("--attempt", str(submission.attempt)),
            ]
        )

    def submit(self, submission: Submission) -> None:
        """Start a job; the record of an ended job with the same id makes way.

        Raises:
            ConflictError: If a job of that id runs.
            ClusterError: If the cluster cannot be reached or refuses.
        """
        api = self.api()
        arguments = (
            self.entrypoint(submission),
            submission.id,
            submission.metadata,
            self.runtime_env(submission),
        )
        deadline = time.monotonic() + _RECORD_SECONDS
        while True:
            try:
                return api.submit(*arguments)
            except ConflictError:
                if self.state(submission.id).status in ACTIVE or time.monotonic() > deadline:
                    raise
            # What watches a job notes its end once more, which can bring a removed record back.
            api.delete(submission.id)
            time.sleep(_POLL_SECONDS)

    def state(self, submission_id: str) -> JobState:
        """What the cluster knows of a job."""
        if not self.address:
            return JobState(GONE, "the cluster does not run")
        try:
            job = self.api().get(submission_id)
        except ClusterError as error:
            return JobState(UNKNOWN, error.message)
        if job is None:
            return JobState(GONE, "the cluster does not know the job")
        return JobState(str(job["status"]), str(job.get("message") or ""))

    def logs(self, submission_id: str) -> str | None:
        """The driver's output so far; None where the cluster has none."""
        if not self.address:
            return None
        try:
            return self.api().logs(submission_id)
        except ClusterError:
            return None

    def stop(self, submission_id: str) -> None:
        """Ask a job to stop."""
        if self.address:
            self.api().stop(submission_id)

    def forget(self, submission_id: str) -> None:
        """Remove a finished job's record."""
        if self.address and self.state(submission_id).status not in (GONE, UNKNOWN):
            self.api().delete(submission_id)

    def wait_ended(self, submission_id: str, seconds: float) -> JobState:
        """The state once the job no longer runs, or after ``seconds``."""
        deadline = time.monotonic() + seconds
        while True:
            state = self.state(submission_id)
            if state.status not in ACTIVE or time.monotonic() > deadline:
                return state
            time.sleep(_POLL_SECONDS)
