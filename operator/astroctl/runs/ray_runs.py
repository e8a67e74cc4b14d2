"""Runs on a Ray cluster: the run directory and the cluster's Jobs API tell of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from astroctl.runs import launch, registry
from astroctl.runs.base import Logs, Plan
from astroctl.runs.logs import stage_logs
from astroctl.runs.registry import Record
from astroctl.runs.state import FINAL, RUNS_STILL, View, account
from astroctl.runs.stopping import stop, stop_gently
from astroctl.targets.jobs_target import JobsTarget
from astroctl.upload.notes import notes
from astrosage.errors import NotFoundError
from astrosage.runs.directory import RunDirectory
from astrosage.spec.job import AstroJob
from astrosage.spec.stages import Stage

_POLL_SECONDS = 0.5
_STOP_SECONDS = 60.0
_CHECKPOINT_SECONDS = 300.0


class RayRuns:
    """The runs of one Ray cluster.

    Args:
        target: The cluster.
    """

    log_seconds = 0.5

    def __init__(self, target: JobsTarget) -> None:
        self._target = target
        self.target = target.name

    def place(self, job: AstroJob, namespace: str | None, folder: Path) -> AstroJob:
        """The job in another namespace, if one is asked for; namespaces are folders here."""
        if namespace is None:
            return job
        metadata = job.metadata.model_copy(update={"namespace": namespace})
        return job.model_copy(update={"metadata": metadata})

    def check(self, job: AstroJob, stages: Sequence[Stage]) -> list[str]:
        """Preflight; see :func:`astroctl.runs.launch.check`."""
        return launch.check(job, stages, self._target)

    def plan(self, job: AstroJob, stages: Sequence[Stage]) -> Plan:
        """What a submit would do."""
        warnings = self.check(job, stages)
        job, uploads = launch.brought(job, self._target, dry_run=True)
        directory = RunDirectory.of(job)
        exists = directory.exists()
        chosen, taken = {s.name for s in stages}, launch.taken_over(job)
        states = []
        for stage in job.spec.stages:
            done = exists and directory.finished(stage) is not None
            what = "finished" if done else "run" if stage.name in chosen else "leave out"
            if what == "run" and stage.name in taken:
                what = "take over"
            states.append({"name": stage.name, "kind": stage.kind, "state": what})
        data = {"upload": uploads.to_dict()} if uploads.items else {}
        return Plan(job, directory.uri, exists, states, warnings, notes(uploads), data)

    def submit(
        self, job: AstroJob, stages: Sequence[Stage], *, only: bool = False
    ) -> tuple[Record, list[str]]:
        """Start a new run, or one stage of one that is there."""
        if only:
            return launch.submit_only(job, stages[0], self._target)
        return launch.submit(job, stages, self._target)

    def unfinished(self, record: Record) -> list[str]:
        """Stages without a finished artefact."""
        return launch.unfinished(record)

    def resume(self, record: Record, job: AstroJob | None = None) -> tuple[Record, list[str]]:
        """Start another attempt; another job may say anew where it runs, not what it makes."""
        return launch.go_on(record, self._target, job)

    def view(self, record: Record) -> View:
        """The run directory's account, checked against the cluster's."""
        return account(record, self._target)

    def glance(self, record: Record) -> View:
        """As :meth:`view`, which is quick here."""
        return self.view(record)

    def states(self, record: Record) -> Iterator[View]:
        """A look every half second."""
        while (state := self.view(record)).phase in RUNS_STILL:
            yield state
            time.sleep(_POLL_SECONDS)
        if state.phase not in FINAL:
            # A driver that just ended may be quicker than the cluster's word of it.
            time.sleep(_POLL_SECONDS)
            state = self.view(record)
        yield state

    def job(self, record: Record) -> AstroJob:
        """The job, from the run directory."""
        return self.directory(record).job()

    def directory(self, record: Record) -> RunDirectory:
        """The run directory itself."""
        return RunDirectory(record.uri)

    def logs(self, record: Record, stage: str | None, rank: int | None) -> Logs:
        """The driver's output while the cluster has it; else the run directory's files."""
        if stage is None and rank is None and self._job_log(record) is not None:
            return lambda: {"": self._job_log(record) or ""}
        return lambda: stage_logs(record, self.directory(record), stage, rank)

    def _job_log(self, record: Record) -> str | None:
        return self._target.logs(record.submission_id) if record.submission_id else None

    def stop(self, record: Record, timeout: float | None, *, checkpoint: bool) -> View:
        """End the driver; a training takes a checkpoint first if that is asked for."""
        if checkpoint:
            return stop_gently(record, self._target, timeout or _CHECKPOINT_SECONDS)
        return stop(record, self._target, timeout or _STOP_SECONDS)

    def delete(self, record: Record, *, purge: bool) -> str:
        """Remove the run and its directory."""
        # Where the directory is gone, what is left is the registry's record.
        with contextlib.suppress(NotFoundError):
            stop(record, self._target, _STOP_SECONDS)
        if record.submission_id:
            self._target.forget(record.submission_id)
        self.directory(record).delete()
        registry.remove(record.place)
        return f"removed {record.uri}"
