"""Any object with a scale subresource: Cluster API's machine sets, Karpenter's static pools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import Changed, Missing
from astroctl.kube.resources import Resource
from astroctl.pools.drivers import owners
from astroctl.pools.drivers.base import Controls, NodeRef, PoolSize, owned
from astroctl.pools.drivers.retry import gone, kube_call
from astrosage.spec.pool import PoolReference

DELETE_MACHINE = "cluster.x-k8s.io/delete-machine"
DEPROVISION_FIRST = "karpenter.sh/deprovisioning-priority"
_CLUSTER_API = "cluster.x-k8s.io"
_KARPENTER = "karpenter.sh"
_NAMES_MACHINES = ("MachineDeployment", "MachineSet")
NODE_CLAIM = Resource("karpenter.sh/v1", "NodeClaim", "nodeclaims", namespaced=False)


class ScaleDriver:
    """Sets `spec.replicas` by the scale subresource.

    Args:
        kube: The cluster that has the object.
        reference: The object.
    """

    poll_seconds = 0.0

    def __init__(self, kube: Kube, reference: PoolReference) -> None:
        assert reference.api_version is not None  # the spec checks both
        assert reference.kind is not None
        self.kube, self.name = kube, reference.name
        self.namespace = reference.namespace
        self.api_version, self.kind = reference.api_version, reference.kind
        self._resource: Resource | None = None
        self._seen: PoolSize | None = None

    @property
    def what(self) -> str:
        """The object, for messages."""
        place = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind} {place}{self.name}"

    @property
    def resource(self) -> Resource:
        """Where the API has such objects."""
        if self._resource is None:
            self._resource = kube_call(self.what, self._discover)
        return self._resource

    def get(self) -> PoolSize:
        """Ask for the size, and who owns it."""
        obj = kube_call(self.what, lambda: self.kube.get(self.resource, self.name, self.namespace))
        found = self._size({"apiVersion": self.api_version, "kind": self.kind, **obj})
        self._seen = found
        return found

    def set_size(self, nodes: int) -> None:
        """Set the replicas, if they are what :meth:`get` saw."""
        seen = self._seen or self.get()
        if seen.controls != "replicas":
            raise owned(self.what, seen.owner)

        def write() -> None:
            scale = self.kube.request("GET", self._path("scale"))
            found = int((scale.get("spec") or {}).get("replicas") or 0)
            if found == nodes:
                return
            if found != seen.desired:
                raise Moved(
                    f"{self.what} was set to {found} replicas while {seen.desired} were seen",
                    "the next round starts from there",
                )
            version = scale["metadata"]["resourceVersion"]
            self._patch({"metadata": {"resourceVersion": version}, "spec": {"replicas": nodes}})

        kube_call(self.what, write)
        self._seen = replace(seen, desired=nodes)

    def set_bounds(self, minimum: int, maximum: int) -> None:
        """Set the cluster-autoscaler's limits, as annotations."""
        limits = {owners.MIN_SIZE: str(minimum), owners.MAX_SIZE: str(maximum)}
        body = {"metadata": {"annotations": limits}}
        kube_call(
            self.what, lambda: self.kube.patch(self.resource, self.name, body, self.namespace)
        )

    def remove(self, nodes: Sequence[NodeRef]) -> None:
        """Mark the nodes' machines as first to go, then ask for that many fewer."""
        seen = self._seen or self.get()
        if seen.controls != "replicas":
            raise owned(self.what, seen.owner)
        if self.group == _KARPENTER:
            self._mark_claims({n.name for n in nodes})
        else:
            for node in nodes:
                self._mark_machine(node)
        self.set_size(seen.desired - len(nodes))

    @property
    def group(self) -> str:
        """The object's API group."""
        return self.api_version.partition("/")[0]

    def _size(self, obj: Object) -> PoolSize:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        if self.group == _KARPENTER and spec.get("replicas") is None:
            raise gone(f"the static {self.what} (it has no spec.replicas: use driver karpenter)")
        current = int(status.get("nodes" if self.group == _KARPENTER else "replicas") or 0)
        replicas = spec.get("replicas")
        minimum, maximum = owners.autoscaler_bounds(obj)
        owner, controls = self._owner(obj)
        return PoolSize(
            current=current,
            desired=current if replicas is None else int(replicas),
            controls=controls,
            ready=_ready(status),
            minimum=minimum,
            maximum=maximum,
            owner=owner,
            names_nodes=self._names_nodes(),
            trouble=_trouble(status),
        )

    def _owner(self, obj: Object) -> tuple[str, Controls]:
        if bounded := owners.cluster_autoscaler(obj):
            return bounded, "bounds"
        found = (
            owners.managed_outside(obj)
            or owners.field_manager(obj)
            or owners.scaled_by_hpa(self.kube, obj)
        )
        return (found, "nothing") if found else ("", "replicas")

    def _names_nodes(self) -> bool:
        # Karpenter takes what never started and what is empty first, then by the annotation.
        cluster_api = self.group == _CLUSTER_API and self.kind in _NAMES_MACHINES
        return cluster_api or self.group == _KARPENTER

    def _mark_machine(self, node: NodeRef) -> None:
        if node.machine is None:
            raise gone(f"the Machine of node {node.name} (its annotation names none)")
        namespace, name = node.machine
        machines = Resource(self.api_version, "Machine", "machines")
        body = {"metadata": {"annotations": {DELETE_MACHINE: "yes"}}}
        kube_call(f"Machine {name}", lambda: self.kube.patch(machines, name, body, namespace))

    def _mark_claims(self, names: set[str]) -> None:
        label = f"karpenter.sh/nodepool={self.name}"
        claims = kube_call("NodeClaims", lambda: self.kube.list(NODE_CLAIM, labels=label))
        body = {"metadata": {"annotations": {DEPROVISION_FIRST: "1000"}}}
        for claim in claims:
            if (claim.get("status") or {}).get("nodeName") in names:
                name = str(claim["metadata"]["name"])
                kube_call(f"NodeClaim {name}", partial(self.kube.patch, NODE_CLAIM, name, body))

    def _patch(self, body: Object) -> None:
        self.kube.patch(self.resource, self.name, body, self.namespace, "scale")

    def _path(self, subresource: str) -> str:
        return self.resource.path(self.namespace, self.name, subresource)

    def _discover(self) -> Resource:
        kind = Resource(self.api_version, self.kind, "")
        found = self.kube.request("GET", kind.path().rstrip("/"))
        for entry in found.get("resources") or []:
            if entry.get("kind") == self.kind and "/" not in entry["name"]:
                return Resource(self.api_version, self.kind, entry["name"], entry["namespaced"])
        raise Missing(f"{self.api_version} has no kind {self.kind}")


class Moved(Changed):
    """The number is not the one that was decided on; trying again would be blind."""

    retryable = False


def _ready(status: dict[str, Any]) -> int | None:
    for field in ("readyReplicas", "nodes"):
        if status.get(field) is not None:
            return int(status[field])
    return None


def _trouble(status: dict[str, Any]) -> str:
    """Cluster API's and Karpenter's words about machines that cannot be made."""
    for condition in status.get("conditions") or []:
        if condition.get("type") in ("MachinesReady", "ValidationSucceeded", "NodeClassReady"):
            words = str(condition.get("message") or condition.get("reason") or "")
            if condition.get("status") == "False" and _says_never(words):
                return " ".join(words.split())[:300]
    return str(status.get("failureMessage") or "")[:300]


def _says_never(words: str) -> bool:
    text = words.lower()
    signs = ("insufficient", "quota", "capacity", "failed to create", "failed to launch")
    return any(sign in text for sign in signs)
