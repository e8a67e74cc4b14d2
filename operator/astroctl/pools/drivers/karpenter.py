"""Karpenter's dynamic pools: it decides itself when pods wait; we say how far it may go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from astroctl.kube.client import Kube, Object
from astroctl.kube.resources import NODE, Resource
from astroctl.pools.cluster.quantity import number
from astroctl.pools.drivers import owners
from astroctl.pools.drivers.base import NodeRef, PoolSize, owned
from astroctl.pools.drivers.retry import gone, kube_call
from astrosage.spec.pool import PoolSpec

_OWNER = "Karpenter adds nodes for pods that wait and removes them when idle"


class KarpenterDriver:
    """Sets `spec.limits` of a dynamic NodePool, in GPUs.

    Args:
        kube: The cluster.
        spec: The pool; its reference names the NodePool.
    """

    poll_seconds = 0.0

    def __init__(self, kube: Kube, spec: PoolSpec) -> None:
        self.kube, self.name = kube, spec.reference.name
        version = spec.reference.api_version or "karpenter.sh/v1"
        self.resource = Resource(version, "NodePool", "nodepools", namespaced=False)
        # Without GPUs there is nothing to count but nodes.
        self.limit = spec.gpu_resource if spec.gpus_per_node else "nodes"
        self.each = spec.gpus_per_node or 1

    @property
    def what(self) -> str:
        """The object, for messages."""
        return f"NodePool {self.name}"

    def get(self) -> PoolSize:
        """Ask for nodes and limit."""
        obj = kube_call(self.what, lambda: self.kube.get(self.resource, self.name))
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        if spec.get("replicas") is not None:
            raise gone(f"the dynamic {self.what} (it has spec.replicas: use driver scale)")
        current = status.get("nodes")
        if current is None:
            current = self._count()
        limit = (spec.get("limits") or {}).get(self.limit)
        foreign = owners.field_manager(obj, "limits")
        return PoolSize(
            current=int(current),
            desired=int(current),
            controls="nothing" if foreign else "limits",
            maximum=None if limit is None else int(number(limit)) // self.each,
            owner=f"{_OWNER}; {foreign}" if foreign else _OWNER,
            trouble=_trouble(status),
        )

    def set_size(self, nodes: int) -> None:
        """Refused: Karpenter owns the number."""
        raise owned(self.what, _OWNER)

    def set_bounds(self, minimum: int, maximum: int) -> None:
        """Set how many GPUs there may be; Karpenter knows no minimum."""
        body: Object = {"spec": {"limits": {self.limit: str(maximum * self.each)}}}
        kube_call(self.what, lambda: self.kube.patch(self.resource, self.name, body))

    def remove(self, nodes: Sequence[NodeRef]) -> None:
        """Refused: Karpenter removes what is idle itself."""
        raise owned(self.what, _OWNER)

    def _count(self) -> int:
        label = f"karpenter.sh/nodepool={self.name}"
        return len(kube_call("nodes", lambda: self.kube.list(NODE, labels=label)))


def _trouble(status: dict[str, Any]) -> str:
    for condition in status.get("conditions") or []:
        broken = condition.get("status") == "False"
        if broken and condition.get("type") in ("NodeClassReady", "ValidationSucceeded"):
            words = condition.get("message") or condition.get("reason") or "not ready"
            return f"{condition['type']}: {' '.join(str(words).split())}"[:300]
    return ""
