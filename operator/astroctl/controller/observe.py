"""Facts on a job's capacity, collected with few requests: none for one that runs, at most six."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from astroctl.controller.why import kuberay, queue, starting, volumes
from astroctl.controller.why.facts import CapacityFacts, FailureFacts
from astroctl.controller.why.objects import (
    HEAD,
    head_first,
    name,
    ready,
    role,
    said_by_scheduler,
    unscheduled,
)
from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import Forbidden, Missing, NoSuchKind
from astroctl.kube.resources import (
    CLAIM,
    EVENT,
    LOCAL_QUEUE,
    NODE,
    POD,
    POOL,
    WORKLOAD,
    Resource,
)
from astroctl.render.groups import Group
from astroctl.render.names import RAY_CLUSTER
from astrosage.spec.job import AstroJob
from astrosage.spec.pool import GPUNodePool

_JOB_UID = "kueue.x-k8s.io/job-uid"
NodeLister = Callable[[str], Sequence[Object] | None]


class Nodes:
    """Nodes by label selector, kept for a while: many waiting jobs ask for the same ones.

    Args:
        kube: The cluster.
        seconds: How long a list is good for.
    """

    def __init__(self, kube: Kube, seconds: float = 30.0) -> None:
        self._kube, self._seconds = kube, seconds
        self._kept: dict[str, tuple[float, Sequence[Object] | None]] = {}

    def __call__(self, selector: str) -> Sequence[Object] | None:
        """The nodes; None if they may not be read."""
        kept = self._kept.get(selector)
        if kept is None or time.monotonic() - kept[0] > self._seconds:
            found = _nodes(self._kube, selector)
            kept = self._kept[selector] = (time.monotonic(), found)
        return kept[1]


def observe(
    kube: Kube,
    job: AstroJob,
    group: Group,
    rayjob: Object | None,
    pool: GPUNodePool | Object | None,
    *,
    nodes: NodeLister | None = None,
    now: float | None = None,
) -> CapacityFacts:
    """Look at what a group of stages waits for.

    Args:
        kube: The cluster; rights that are lacking make facts unknown, not errors.
        job: The job.
        group: The stages that share a cluster.
        rayjob: Their RayJob, with its status; its spec is used no further than ``suspend``.
        pool: The pool that the cluster names: the object with its status, or the model, whose
            status is then read when pods wait.
        nodes: Gives nodes by label selector, such as :class:`Nodes`; default: a request.
        now: Seconds since the epoch.

    Raises:
        ApiError: If the API server cannot be asked.
    """
    when = time.time() if now is None else now
    known = dict(pool) if isinstance(pool, dict) else _unread(pool)
    facts = CapacityFacts(group.cluster, when, rayjob, pool=known)
    if rayjob is None or kuberay.invalid(facts) or starting.is_ready(facts):
        return facts
    look = _Look(kube, job.metadata.namespace, rayjob, nodes or (lambda s: _nodes(kube, s)))
    found: dict[str, Any] = look.queue(facts)
    pods = found["pods"] = look.pods()
    waiting = [p for p in head_first(pods) if not ready(p)]
    found["events"] = look.events(facts, pods, _telling(waiting))
    scheduled_by = next((p for p in waiting if unscheduled(p) and said_by_scheduler(p)), None)
    if scheduled_by is not None:
        if volumes.doubtful(scheduled_by):
            found["claims"] = look.claims()
        else:
            found["nodes"] = look.nodes(scheduled_by)
            if isinstance(pool, GPUNodePool):
                found["pool"] = look.try_get(POOL, pool.metadata.name) or known
    return CapacityFacts(group.cluster, when, rayjob, **{"pool": known, **found})


def observe_failure(kube: Kube, namespace: str, rayjob: Object) -> FailureFacts:
    """Look at what is left of an attempt that failed.

    Args:
        kube: The cluster.
        namespace: The job's.
        rayjob: The RayJob.

    Raises:
        ApiError: If the API server cannot be asked.
    """
    return FailureFacts(rayjob, _Look(kube, namespace, rayjob, lambda selector: None).pods())


class _Look:
    """The requests of one look."""

    def __init__(self, kube: Kube, namespace: str, rayjob: Object, nodes: NodeLister) -> None:
        self._kube, self._namespace, self._rayjob = kube, namespace, rayjob
        self._nodes = nodes

    def queue(self, facts: CapacityFacts) -> dict[str, Any]:
        """Kueue's Workload, and the LocalQueue where that alone does not explain."""
        queue_name = queue.queue_name(facts)
        if not queue_name or not queue.held(facts):
            return {}
        uid = self._rayjob["metadata"].get("uid")
        workloads = self._list(WORKLOAD, labels=f"{_JOB_UID}={uid}")
        # An elastic job may have several slices; the newest is the one that waits.
        newest = max(workloads, key=lambda w: w["metadata"]["creationTimestamp"], default=None)
        found: dict[str, Any] = {"workload": newest}
        if newest is None or not newest.get("status"):
            found["queue"] = self.try_get(LOCAL_QUEUE, queue_name)
        return found

    def pods(self) -> list[Object]:
        """Pods of the RayJob's cluster."""
        cluster = (self._rayjob.get("status") or {}).get("rayClusterName")
        return self._list(POD, labels=f"{RAY_CLUSTER}={cluster}") if cluster else []

    def events(
        self, facts: CapacityFacts, pods: Sequence[Object], pod: Object | None
    ) -> list[Object]:
        """Events of a pod, and of the Ray cluster where pods are missing."""
        found = self._list(EVENT, fields=_about("Pod", name(pod))) if pod is not None else []
        cluster = kuberay.status(facts).get("rayClusterName")
        if cluster and kuberay.lacks_pods(facts, pods):
            found += self._list(EVENT, fields=_about("RayCluster", cluster))
        return found

    def claims(self) -> list[Object]:
        """Persistent volume claims of the namespace."""
        return self._list(CLAIM)

    def nodes(self, pod: Object) -> Sequence[Object] | None:
        """Nodes that have the labels which a pod asks for."""
        selector = (pod.get("spec") or {}).get("nodeSelector") or {}
        return self._nodes(",".join(f"{k}={v}" for k, v in sorted(selector.items())))

    def try_get(self, kind: Resource, wanted: str) -> Object | None:
        """An object; None if it, its kind or the right to read it is lacking."""
        try:
            return self._kube.get(kind, wanted, self._namespace)
        except (Missing, NoSuchKind, Forbidden):
            return None

    def _list(self, kind: Resource, **selectors: str) -> list[Object]:
        try:
            return self._kube.list(kind, self._namespace, **selectors)
        except (NoSuchKind, Forbidden):
            return []


def _telling(waiting: Sequence[Object]) -> Object | None:
    """The pod whose events say most: the head, else a worker that no node has taken, else one."""
    return min(waiting, key=lambda p: (role(p) != HEAD, not unscheduled(p)), default=None)


def _about(kind: str, named: str) -> str:
    return f"involvedObject.kind={kind},involvedObject.name={named}"


def _nodes(kube: Kube, selector: str) -> Sequence[Object] | None:
    try:
        return kube.list(NODE, labels=selector or None)
    except Forbidden:
        return None


def _unread(pool: GPUNodePool | None) -> Object | None:
    return None if pool is None else pool.to_yaml_dict()
