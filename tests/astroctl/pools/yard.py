"""A yard of pools on a real API server: Cluster API objects, nodes, pods, and who moves them."""

from __future__ import annotations

import itertools
import uuid
from dataclasses import dataclass, field
from typing import Any

from astroctl.kube.client import Kube
from astroctl.kube.resources import CRD, EVENT, NODE, POD, POOL, RAYCLUSTER, Resource

GROUP = "cluster.x-k8s.io"
API = f"{GROUP}/v1beta2"
MACHINE_DEPLOYMENT = Resource(API, "MachineDeployment", "machinedeployments")
MACHINE = Resource(API, "Machine", "machines")
NODE_POOL = Resource("karpenter.sh/v1", "NodePool", "nodepools", namespaced=False)
NODE_CLAIM = Resource("karpenter.sh/v1", "NodeClaim", "nodeclaims", namespaced=False)
_count = itertools.count(1)


def post(kube: Kube, kind: Resource, obj: dict[str, Any], manager: str = "kubectl") -> Any:
    """Make an object of any kind, as some tool."""
    path = kind.path(obj["metadata"].get("namespace"))
    body = {"apiVersion": kind.api_version, "kind": kind.kind, **obj}
    return kube.request("POST", path, body, fieldManager=manager)


def machines_crd(kube: Kube) -> None:
    """Cluster API's Machines; any fields will do."""
    version = {
        "name": "v1beta2",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {
            "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        },
    }
    spec = {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"kind": "Machine", "plural": "machines", "singular": "machine"},
        "versions": [version],
    }
    name = f"machines.{GROUP}"
    if kube.find(CRD, name) is None:
        annotation = {"api-approved.kubernetes.io": "unapproved, for tests"}
        meta = {"name": name, "annotations": annotation}
        kube.create(
            {"apiVersion": CRD.api_version, "kind": CRD.kind, "metadata": meta, "spec": spec}
        )


@dataclass
class Yard:
    """One pool on a MachineDeployment; its machines come and go when told to."""

    kube: Kube
    namespace: str
    name: str = field(default_factory=lambda: f"pool-{uuid.uuid4().hex[:6]}")
    gpus: int = 8
    pods: list[tuple[str, str]] = field(default_factory=list)

    def deployment(self, replicas: int = 0, **annotations: str) -> None:
        """Make the MachineDeployment."""
        spec = {
            "clusterName": "c",
            "replicas": replicas,
            "selector": {"matchLabels": {"pool": self.name}},
            "template": {
                "metadata": {"labels": {"pool": self.name}},
                "spec": {
                    "clusterName": "c",
                    "bootstrap": {"dataSecretName": "none"},
                    "infrastructureRef": {"apiGroup": "x.io", "kind": "X", "name": "x"},
                },
            },
        }
        names = {k.replace("__", "/").replace("_", "-"): v for k, v in annotations.items()}
        meta = {"name": self.name, "namespace": self.namespace, "annotations": names}
        post(self.kube, MACHINE_DEPLOYMENT, {"metadata": meta, "spec": spec})
        if replicas:
            self.move()

    def pool(self, **spec: Any) -> None:
        """Make the GPUNodePool."""
        reference = {
            "apiVersion": API,
            "kind": "MachineDeployment",
            "name": self.name,
            "namespace": self.namespace,
        }
        whole = {
            "driver": "scale",
            "reference": reference,
            "maxNodes": 4,
            "gpusPerNode": self.gpus,
            "idleSeconds": 60,
            "bootSeconds": 120,
            **spec,
        }
        self.kube.create(
            {
                "apiVersion": POOL.api_version,
                "kind": POOL.kind,
                "metadata": {"name": self.name},
                "spec": whole,
            }
        )

    @property
    def replicas(self) -> int:
        """What the MachineDeployment is asked for."""
        found = self.kube.get(MACHINE_DEPLOYMENT, self.name, self.namespace)
        return int(found["spec"]["replicas"])

    @property
    def status(self) -> dict[str, Any]:
        """The GPUNodePool's."""
        return dict(self.kube.get(POOL, self.name).get("status") or {})

    def condition(self, kind: str) -> tuple[str, str]:
        """Status and reason of a condition."""
        found = next(c for c in self.status["conditions"] if c["type"] == kind)
        return found["status"], found["reason"]

    def events(self) -> set[str]:
        """Reasons of the events told of the GPUNodePool."""
        fields = f"involvedObject.name={self.name},involvedObject.kind=GPUNodePool"
        return {e["reason"] for e in self.kube.list(EVENT, "default", fields=fields)}

    def nodes(self) -> list[dict[str, Any]]:
        """Its nodes."""
        return self.kube.list(NODE, labels=f"astrosage.io/pool={self.name}")

    def move(self, *, ready: bool = True, limit: int | None = None) -> None:
        """Do what Cluster API does: as many machines as replicas, marked ones going first."""
        wanted = self.replicas if limit is None else min(limit, self.replicas)
        there = self.kube.list(MACHINE, self.namespace, labels=f"pool={self.name}")
        there.sort(key=lambda m: "delete-machine" not in str(m["metadata"].get("annotations")))
        for machine in there[: max(0, len(there) - wanted)]:
            name = machine["metadata"]["name"]
            self.kube.delete(MACHINE, name, self.namespace)
            self.kube.delete(NODE, name)
        for _ in range(wanted - len(there)):
            self.join(ready=ready)
        body = {"status": {"replicas": wanted, "readyReplicas": wanted}}
        self.kube.patch(MACHINE_DEPLOYMENT, self.name, body, self.namespace, "status")

    def join(self, *, ready: bool = True, age: float = 0.0) -> str:
        """A machine and its node."""
        name = f"{self.name}-{next(_count)}"
        meta = {"name": name, "namespace": self.namespace, "labels": {"pool": self.name}}
        post(self.kube, MACHINE, {"metadata": meta})
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": {"astrosage.io/pool": self.name, "test/namespace": self.namespace},
                "annotations": {
                    "cluster.x-k8s.io/machine": name,
                    "cluster.x-k8s.io/cluster-namespace": self.namespace,
                },
            },
        }
        self.kube.create(node)
        self.set_ready(name, ready)
        return name

    def set_ready(self, name: str, ready: bool = True) -> None:
        """Say that a node is ready, with all its devices."""
        there = {"cpu": "64", "memory": "512Gi", "pods": "110", "nvidia.com/gpu": str(self.gpus)}
        status = {
            "allocatable": there,
            "capacity": there,
            "conditions": [{"type": "Ready", "status": str(ready)}],
        }
        self.kube.patch(NODE, name, {"status": status}, subresource="status")
        # The API server closes new nodes until some controller finds them ready.
        self.kube.patch(NODE, name, {"spec": {"taints": None}})

    def pod(
        self,
        gpus: int = 8,
        node: str | None = None,
        affinity: list[Any] | None = None,
        **labels: str,
    ) -> str:
        """A pod, waiting or bound."""
        name = f"pod-{next(_count)}"
        resources = {"requests": {"cpu": "8", "memory": "64Gi"}}
        if gpus:
            resources["limits"] = {"nvidia.com/gpu": str(gpus)}
        spec: dict[str, Any] = {
            "containers": [{"name": "ray", "image": "ray:1", "resources": resources}],
            "nodeSelector": {"astrosage.io/pool": self.name},
            "terminationGracePeriodSeconds": 0,
        }
        if affinity:
            del spec["nodeSelector"]
            terms = {"nodeSelectorTerms": affinity}
            required = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
            spec["affinity"] = {"nodeAffinity": required}
        named = {k.replace("__", "/").replace("_", "-"): v for k, v in labels.items()}
        meta = {"name": name, "namespace": self.namespace, "labels": named}
        owner = {"apiVersion": "v1", "kind": "Test", "name": "t", "uid": str(uuid.uuid4())}
        self.kube.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {**meta, "ownerReferences": [owner]},
                "spec": spec,
            }
        )
        self.pods.append((self.namespace, name))
        if node:
            self.bind(name, node)
        return name

    def gang(
        self,
        pods: int,
        gpus: int = 8,
        job: str = "job",
        made: int | None = None,
        affinity: list[Any] | None = None,
    ) -> list[str]:
        """The workers of an AstroJob's RayCluster; only some of them made, if wanted."""
        cluster = f"{job}-0-1-abcde"
        group = {
            "groupName": "workers",
            "replicas": pods,
            "minReplicas": pods,
            "maxReplicas": pods,
            "rayStartParams": {},
            "template": {"spec": {"containers": [{"name": "ray", "image": "ray:1"}]}},
        }
        head = {"rayStartParams": {}, "template": group["template"]}
        spec = {"headGroupSpec": head, "workerGroupSpecs": [group]}
        meta = {"name": cluster, "namespace": self.namespace}
        post(self.kube, RAYCLUSTER, {"metadata": meta, "spec": spec})
        labels = {
            "astrosage.io__job": job,
            "astrosage.io__group": "0",
            "astrosage.io__pool": self.name,
            "ray.io__cluster": cluster,
            "ray.io__group": "workers",
        }
        count = pods if made is None else made
        return [self.pod(gpus, affinity=affinity, **labels) for _ in range(count)]

    def bind(self, pod: str, node: str) -> None:
        """What the scheduler does, and the kubelet."""
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": target}
        self.kube.request("POST", POD.path(self.namespace, pod, "binding"), body)
        self.kube.patch(POD, pod, {"status": {"phase": "Running"}}, self.namespace, "status")

    def end(self, *pods: str) -> None:
        """Pods that are finished."""
        for pod in pods:
            body = {"status": {"phase": "Succeeded"}}
            self.kube.patch(POD, pod, body, self.namespace, "status")

    def clear(self) -> None:
        """Remove what no namespace holds."""
        self.kube.delete(POOL, self.name)
        for node in self.kube.list(NODE, labels=f"test/namespace={self.namespace}"):
            self.kube.delete(NODE, node["metadata"]["name"])
        for namespace, pod in self.pods:
            self.kube.delete(POD, pod, namespace)
