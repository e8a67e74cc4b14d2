"""What is known of a job that waits or failed, and what is found out from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from astroctl.controller.why.reasons import READY, Reason
from astrosage.spec.cluster import Cluster

Object = dict[str, Any]


@dataclass(frozen=True)
class CapacityFacts:
    """Facts on a job's capacity, as the API has them.

    Attributes:
        cluster: What the group of stages runs on, as the job says.
        now: Seconds since the epoch.
        rayjob: The group's RayJob; None before it is made.
        pods: Pods of its Ray cluster.
        events: Events of the pod that tells most and of the Ray cluster.
        workload: Kueue's Workload of the RayJob.
        queue: Kueue's LocalQueue that the job names.
        pool: The GPUNodePool that the job names, with its status.
        nodes: Nodes that have the labels which the waiting pods ask for; None if not known.
        claims: Persistent volume claims that the pods use, where one is in question.
    """

    cluster: Cluster
    now: float
    rayjob: Object | None = None
    pods: Sequence[Object] = ()
    events: Sequence[Object] = ()
    workload: Object | None = None
    queue: Object | None = None
    pool: Object | None = None
    nodes: Sequence[Object] | None = None
    claims: Sequence[Object] = ()


@dataclass(frozen=True)
class Finding:
    """Why a job waits.

    Attributes:
        reason: One word, from :mod:`astroctl.controller.why.reasons`.
        message: One or two sentences.
        hint: What to do; empty if nothing is to be done.
        since: Since when (RFC 3339); empty if that is not known.
        passes: Whether it can pass without anybody doing anything.
    """

    reason: str
    message: str
    hint: str = ""
    since: str = ""
    passes: bool = True

    @property
    def ready(self) -> bool:
        """Whether the job has what it needs."""
        return self.reason == READY.name


@dataclass(frozen=True)
class FailureFacts:
    """Facts on an attempt that failed.

    Attributes:
        rayjob: The RayJob; None if it is gone.
        pods: Pods of its cluster that are still there.
        driver: The driver's own account of its error (``type``, ``message``, ``hint``,
            ``retryable``), of this attempt; None if it left none.
    """

    rayjob: Object | None = None
    pods: Sequence[Object] = ()
    driver: Object | None = None


@dataclass(frozen=True)
class Ending:
    """Why an attempt failed.

    Attributes:
        reason: One word.
        message: One or two sentences.
        hint: What to do.
        retryable: Whether trying again can help.
        family: The error's family, such as DataError.
    """

    reason: str
    message: str
    hint: str = ""
    retryable: bool = True
    family: str = "ClusterError"


def found(
    reason: Reason,
    message: str,
    hint: str | None = None,
    since: str = "",
    passes: bool | None = None,
) -> Finding:
    """A finding of a reason; the reason's own advice is the hint if none is given."""
    advice = reason.helps if hint is None else hint
    alone = reason.passes if passes is None else passes
    return Finding(reason.name, message, advice, since, alone)
