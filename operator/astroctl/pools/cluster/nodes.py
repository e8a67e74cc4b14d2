"""Nodes of a pool as the policy's facts, and the marks that this project leaves on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from astroctl.kube.client import Object
from astroctl.kube.times import seconds, timestamp
from astroctl.pools.cluster.pods import PodFacts
from astroctl.pools.cluster.quantity import number
from astroctl.pools.drivers.base import NodeRef
from astroctl.pools.model import NodeState
from astrosage.spec.pool import PoolSpec

CORDONED_BY = "astrosage.io/cordoned-by"
CORDONED_AT = "astrosage.io/cordoned-at"
EMPTY_SINCE = "astrosage.io/empty-since"
_MACHINE = "cluster.x-k8s.io/machine"
_MACHINE_NAMESPACE = "cluster.x-k8s.io/cluster-namespace"
_LEAVES = ("ToBeDeletedByClusterAutoscaler", "karpenter.sh/disrupted", "karpenter.sh/disruption")
_STAYS = {
    "cluster-autoscaler.kubernetes.io/scale-down-disabled": "true",
    "karpenter.sh/do-not-disrupt": "true",
}


def marks_of(node: Object) -> dict[str, str]:
    """Its annotations."""
    return node["metadata"].get("annotations") or {}


def cordoned_by_us(node: Object) -> bool:
    """Whether its cordon is this project's."""
    return bool((node.get("spec") or {}).get("unschedulable")) and CORDONED_BY in marks_of(node)


def is_ready(node: Object) -> bool:
    """Whether it says that it is."""
    conditions = (node.get("status") or {}).get("conditions") or []
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def works(pods: Sequence[PodFacts], spec: PoolSpec) -> int:
    """How many of a node's pods are somebody's work."""
    if spec.gpus_per_node:
        return sum(p.is_work for p in pods)
    return sum(not p.daemon for p in pods)


def node_ref(node: Object) -> NodeRef:
    """The node's names."""
    found = marks_of(node)
    machine, namespace = found.get(_MACHINE), found.get(_MACHINE_NAMESPACE)
    return NodeRef(
        node["metadata"]["name"],
        str((node.get("spec") or {}).get("providerID") or ""),
        (namespace, machine) if machine and namespace else None,
    )


def node_state(
    node: Object, pods: Sequence[PodFacts], spec: PoolSpec, *, empty_since: float, removable: bool
) -> NodeState:
    """The facts of a node.

    Args:
        node: The object.
        pods: All pods bound to it that have not ended.
        spec: Its pool.
        empty_since: Since when it has no work, if it has none.
        removable: Whether the pool's mechanism lets us remove nodes.
    """
    there: dict[str, Any] = (node.get("status") or {}).get("allocatable") or {}
    marks, closed = marks_of(node), bool((node.get("spec") or {}).get("unschedulable"))
    ours, work = cordoned_by_us(node), works(pods, spec)
    return NodeState(
        name=node["metadata"]["name"],
        ready=is_ready(node),
        created=seconds(node["metadata"].get("creationTimestamp")),
        gpus=int(number(there.get(spec.gpu_resource))),
        gpus_used=sum(p.gpus for p in pods),
        cpus=number(there["cpu"]) if "cpu" in there else None,
        cpu_used=sum(p.cpu for p in pods),
        memory=int(number(there["memory"])) if "memory" in there else None,
        memory_used=sum(p.memory for p in pods),
        pods=work,
        empty_since=None if work else empty_since,
        cordoned_since=seconds(marks.get(CORDONED_AT)) if ours else None,
        unschedulable=closed and not ours,
        deletable=removable
        and not any(p.stays and not p.daemon for p in pods)
        and not any(marks.get(k) == v for k, v in _STAYS.items()),
        leaving="deletionTimestamp" in node["metadata"] or _being_removed(node),
    )


def cordon_patch(node: Object, pool: str, now: float) -> Object:
    """Close a node to new pods, unless it was changed since it was read."""
    marks = {CORDONED_BY: pool, CORDONED_AT: timestamp(now)}
    return _patch(node, marks, True)


def uncordon_patch(node: Object) -> Object:
    """Open a node again that we closed."""
    return _patch(node, {CORDONED_BY: None, CORDONED_AT: None}, None)


def _patch(node: Object, marks: Mapping[str, str | None], closed: bool | None) -> Object:
    version = node["metadata"]["resourceVersion"]
    return {
        "metadata": {"annotations": marks, "resourceVersion": version},
        "spec": {"unschedulable": closed},
    }


def _being_removed(node: Object) -> bool:
    taints = (node.get("spec") or {}).get("taints") or []
    return any(t.get("key") in _LEAVES for t in taints)
