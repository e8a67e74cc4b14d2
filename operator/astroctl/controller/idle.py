"""GPUs that are paid for and do nothing: what their job's heartbeat and pods show.

Pure functions; whoever calls them says so in events and metrics, and removes what
:attr:`Idle.reap` names if the settings allow it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from astroctl.controller.why import reasons
from astroctl.controller.why.facts import Object
from astroctl.controller.why.objects import (
    HEAD,
    created,
    gpu_resources,
    name,
    phase,
    ready,
    request,
    role,
    unscheduled,
)
from astroctl.controller.why.reasons import Reason
from astroctl.kube.times import seconds
from astrosage.units import format_seconds

_ENDED = ("Complete", "Failed")
_LIVE = ("Pending", "Running")


@dataclass(frozen=True)
class Limits:
    """How long is too long, in seconds.

    Attributes:
        after_end: Pods of a job that has ended may stay; longer than RayJobs keep their cluster.
        heartbeat: Without a sign of life from the driver.
        step: Without a finished step; evaluations and checkpoints take minutes.
        rest: Some pods of a gang hold GPUs while others wait.
    """

    after_end: float = 300.0
    heartbeat: float = 180.0
    step: float = 1800.0
    rest: float = 600.0


@dataclass(frozen=True)
class Idle:
    """GPUs that do nothing.

    Attributes:
        reason: One word.
        message: One or two sentences.
        hint: What to do.
        gpus: How many.
        since: Since when, in seconds since the epoch.
        reap: Name of the RayJob whose removal frees them and loses nothing; empty if there is
            none.
    """

    reason: str
    message: str
    hint: str
    gpus: int
    since: float
    reap: str = ""


@dataclass(frozen=True)
class Step:
    """Where a job stood, to tell later whether it moved.

    Attributes:
        at: The stage and its step.
        since: When it was first seen there, in seconds since the epoch.
    """

    at: tuple[str, int]
    since: float


def moved(progress: Mapping[str, Any] | None, before: Step | None, now: float) -> Step | None:
    """Where a job stands; keep it for the next look.

    Args:
        progress: The status' progress.
        before: What this function gave at the last look.
        now: Seconds since the epoch.
    """
    if not progress or progress.get("step") is None:
        return None
    at = (str(progress.get("stage") or ""), int(progress["step"]))
    return before if before is not None and before.at == at else Step(at, now)


def idle(
    rayjob: Object,
    pods: Sequence[Object],
    progress: Mapping[str, Any] | None,
    now: float,
    *,
    step: Step | None = None,
    limits: Limits = Limits(),
) -> Idle | None:
    """What the GPUs of a job's cluster do that is not work; None if they do work.

    Args:
        rayjob: The RayJob, with its status.
        pods: Pods of its cluster.
        progress: The AstroJob's ``status.progress``.
        now: Seconds since the epoch.
        step: What :func:`moved` gave.
        limits: How long is too long.
    """
    holding = [p for p in pods if _gpus(p) and not unscheduled(p) and phase(p) in _LIVE]
    if not holding:
        return None
    status = rayjob.get("status") or {}
    if status.get("jobDeploymentStatus") in _ENDED:
        return _after_end(rayjob, holding, now, limits)
    if status.get("jobStatus") == "RUNNING":
        return _stalled(holding, progress, now, limits) or _stuck(holding, step, now, limits)
    return _partial(pods, holding, now, limits)


def _gpus(pod: Object) -> int:
    return int(sum(request(pod, r) for r in gpu_resources(pod)))


def _idle(
    reason: Reason, holding: Sequence[Object], since: float, message: str, reap: str = ""
) -> Idle:
    return Idle(reason.name, message, reason.helps, sum(map(_gpus, holding)), since, reap)


def _after_end(
    rayjob: Object, holding: Sequence[Object], now: float, limits: Limits
) -> Idle | None:
    ended = seconds((rayjob.get("status") or {}).get("endTime"))
    if not ended or now - ended < limits.after_end:
        return None
    message = (
        f"RayJob {name(rayjob)} ended {format_seconds(now - ended)} ago, and {len(holding)} pods "
        f"still hold {sum(map(_gpus, holding))} GPUs"
    )
    return _idle(reasons.GPUS_HELD_AFTER_END, holding, ended, message, name(rayjob))


def _stalled(
    holding: Sequence[Object], progress: Mapping[str, Any] | None, now: float, limits: Limits
) -> Idle | None:
    beat = seconds((progress or {}).get("heartbeat"))
    if not beat or now - beat < limits.heartbeat:
        return None
    message = (
        f"no sign of life from the driver for {format_seconds(now - beat)}, while "
        f"{sum(map(_gpus, holding))} GPUs are held"
    )
    return _idle(reasons.HEARTBEAT_STALLED, holding, beat, message)


def _stuck(holding: Sequence[Object], step: Step | None, now: float, limits: Limits) -> Idle | None:
    if step is None or now - step.since < limits.step:
        return None
    stage, number = step.at
    message = (
        f"stage {stage} has stood at step {number} for {format_seconds(now - step.since)}, while "
        f"{sum(map(_gpus, holding))} GPUs are held"
    )
    return _idle(reasons.NO_PROGRESS, holding, step.since, message)


def _partial(
    pods: Sequence[Object], holding: Sequence[Object], now: float, limits: Limits
) -> Idle | None:
    """Part of a gang has room; it can do nothing without the rest."""
    waiting = [p for p in pods if unscheduled(p)]
    ready_since = [seconds(created(p)) for p in holding if ready(p)]
    if not waiting or not ready_since or now - max(ready_since) < limits.rest:
        return None
    since = max(ready_since)
    whom = "the head" if any(role(p) == HEAD for p in waiting) else f"{len(waiting)} worker pods"
    message = (
        f"{len(holding)} pods have held {sum(map(_gpus, holding))} GPUs for "
        f"{format_seconds(now - since)} while {whom} wait for room"
    ).replace("the head wait ", "the head waits ")
    return _idle(reasons.GPUS_WAIT_FOR_REST, holding, since, message)
