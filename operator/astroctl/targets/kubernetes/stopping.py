"""Suspend a job, and go on with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import Missing
from astroctl.kube.merging import merge_patch
from astroctl.kube.resources import ASTROJOB
from astroctl.kube.times import timestamp
from astroctl.runs.registry import Record
from astroctl.targets.kubernetes.account import RETRY, STAGES
from astrosage.errors import ClusterError, ConflictError, NotFoundError

STOP_SECONDS = 300.0
_POLL_SECONDS = 0.5
_RESTING = ("Suspended", "Stopped", "Succeeded", "Failed")
_ASK_AGAIN = ("Failed", "Stopped")


def suspend(
    kube: Kube,
    record: Record,
    timeout: float,
    *,
    checkpoint: bool,
    waiting: Callable[[], None],
) -> Object:
    """Stop a job and wait until its pods are asked no more. A training takes a checkpoint on its
    way out.

    Args:
        kube: The cluster.
        record: The run.
        timeout: Seconds to wait.
        checkpoint: Insist on a checkpoint.
        waiting: Called when the job is asked to stop and is waited for.

    Raises:
        ClusterError: If the job goes on, or ended without the checkpoint that was insisted on.
        NotFoundError: If the job is gone.
    """
    obj = kube.get(ASTROJOB, record.name, record.namespace)
    if phase_of(obj) in _RESTING and (obj["spec"].get("suspend") or phase_of(obj) != "Suspended"):
        return obj
    kube.patch(ASTROJOB, record.name, {"spec": {"suspend": True}}, record.namespace)
    waiting()

    def rests(found: Object) -> bool:
        seen = int((found.get("status") or {}).get("observedGeneration") or 0)
        return phase_of(found) in _RESTING and seen >= found["metadata"]["generation"]

    found = wait(kube, record, rests, timeout)
    if found is None:
        raise ClusterError(
            f"the job `{record.name}` is asked to stop, but still runs after {timeout:.0f} s",
            "a checkpoint may take its time: watch it with `astroctl status "
            f"{record.called}`; does an operator run? `astroctl doctor --target kubernetes`",
        )
    if checkpoint and trains(obj) and last_checkpoint(found) == last_checkpoint(obj):
        raise ClusterError(
            f"--checkpoint: the job `{record.name}` has ended without taking one; the newest is "
            f"{last_checkpoint(found) or 'none'}",
            "there was no time for it: raise `cluster.kubernetes.terminationGraceSeconds`; "
            "`resume` goes on from the newest one",
        )
    return found


def trains(obj: Object) -> bool:
    """Whether a stage of the job trains at the moment."""
    stages = (obj.get("status") or {}).get("stages") or []
    return any(s.get("kind") == "train" and s.get("phase") == "running" for s in stages)


def last_checkpoint(obj: Object) -> str | None:
    """The newest checkpoint that the status knows."""
    found: str | None = (obj.get("status") or {}).get("lastCheckpoint")
    return found


def go_on(kube: Kube, record: Record, stages: str | None, spec: dict[str, Any] | None) -> Object:
    """Let a job run (again).

    Args:
        kube: The cluster.
        record: The run.
        stages: The annotation with the stages wanted; None for all.
        spec: Another spec; None leaves it.

    Raises:
        ConflictError: If it is running.
    """
    obj = kube.get(ASTROJOB, record.name, record.namespace)
    phase = phase_of(obj)
    if phase in ("Pending", "Running") and not obj["spec"].get("suspend") and not _refused(obj):
        raise ConflictError(
            f"the run `{record.name}` is {phase.lower()}",
            f"watch it: `astroctl status {record.called} --watch`; end it: `astroctl stop "
            f"{record.called}`",
        )
    annotations: dict[str, str | None] = {STAGES: stages}
    if phase in _ASK_AGAIN:
        annotations[RETRY] = timestamp(time.time())
    changes: dict[str, Any] = {"metadata": {"annotations": annotations}}
    other = merge_patch(obj["spec"], spec) if spec is not None else {}
    changes["spec"] = {**other, "suspend": False}
    return kube.patch(ASTROJOB, record.name, changes, record.namespace)


def wait(
    kube: Kube, record: Record, done: Callable[[Object], bool], timeout: float
) -> Object | None:
    """The job once something is so; None if that does not come in time.

    Raises:
        NotFoundError: If the job is gone.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            found = kube.get(ASTROJOB, record.name, record.namespace)
        except Missing:
            raise NotFoundError(f"the AstroJob `{record.key}` was deleted meanwhile") from None
        if done(found):
            return found
        if time.monotonic() > deadline:
            return None
        time.sleep(_POLL_SECONDS)


def until_gone(kube: Kube, record: Record, timeout: float) -> bool:
    """Whether the job is gone in time."""
    deadline = time.monotonic() + timeout
    while kube.find(ASTROJOB, record.name, record.namespace) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def phase_of(obj: Object) -> str:
    """Its phase; Pending before there is one."""
    return str((obj.get("status") or {}).get("phase") or "Pending")


def _refused(obj: Object) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Accepted" and c["status"] == "False" for c in conditions)
