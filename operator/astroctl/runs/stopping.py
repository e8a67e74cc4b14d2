"""End a run's driver, and see to it that the run directory says so."""

from __future__ import annotations

from astroctl.runs.registry import Record
from astroctl.runs.state import RUNS_STILL, View, account
from astroctl.targets.base import ACTIVE
from astroctl.targets.jobs_target import JobsTarget
from astrosage.errors import ClusterError
from astrosage.runs.directory import RunDirectory


def stop(record: Record, target: JobsTarget, timeout: float) -> View:
    """Stop a run and wait for its driver to end. A run that is over is left as it is.

    Args:
        record: The run.
        target: Where it runs.
        timeout: Seconds to wait.

    Raises:
        ClusterError: If the driver goes on, or the cluster cannot be asked to stop it.
    """
    before = account(record, target)
    if before.phase not in (*RUNS_STILL, "interrupted"):
        return before
    if before.job.status in ACTIVE:
        target.stop(record.submission_id)
        state = target.wait_ended(record.submission_id, timeout)
        if state.status in ACTIVE:
            raise ClusterError(
                f"the driver of `{record.name}` still runs after {timeout:.0f} s",
                "wait and try again; `astroctl down` ends the whole local cluster",
            )
    elif before.phase in RUNS_STILL:
        raise ClusterError(
            f"the cluster of `{record.name}` cannot be asked to stop it: {before.job.message}",
            "try again when it can be reached",
        )
    after = account(record, target)
    if after.phase in ("pending", "running", "interrupted", "stopped"):
        _write_stopped(record)
    return account(record, target)


def stop_gently(record: Record, target: JobsTarget, timeout: float) -> View:
    """As :func:`stop`, but a stage that trains takes a checkpoint first and ends by itself.

    Raises:
        ClusterError: If it has not ended in time; it goes on then.
    """
    before = account(record, target)
    directory = RunDirectory(record.uri)
    stage = before.progress.get("stage")
    kinds = {s.name: s.kind for s in directory.job().spec.stages}
    if before.job.status not in ACTIVE or kinds.get(str(stage)) != "train":
        return stop(record, target, timeout)
    directory.request_stop()
    state = target.wait_ended(record.submission_id, timeout)
    if state.status in ACTIVE:
        directory.clear_stop()
        raise ClusterError(
            f"--checkpoint: the training of `{record.name}` has not ended after {timeout:.0f} s, "
            "and goes on",
            "give it more --timeout; without --checkpoint it is stopped at once, and `resume` goes "
            "on from the last checkpoint",
        )
    return account(record, target)


def _write_stopped(record: Record) -> None:
    """Say for the driver, which could not, that the run was stopped."""
    directory = RunDirectory(record.uri)
    progress = directory.progress()
    if progress.get("phase") == "stopped" and progress.get("attempt") == record.attempt:
        return
    stages = progress.get("stages") or [
        {"name": n, "phase": "pending", "seconds": None} for n in record.stages
    ]
    for stage in stages:
        if stage["phase"] == "running":
            stage["phase"] = "stopped"
    directory.write_progress(
        {
            **progress,
            "run": record.key,
            "phase": "stopped",
            "attempt": record.attempt,
            "stages": stages,
            "etaSeconds": None,
        }
    )
