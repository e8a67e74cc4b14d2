"""Objects as a cluster's own parts write them, for tests of what is read from them."""

from __future__ import annotations

from typing import Any

from astroctl.controller.why.facts import CapacityFacts
from astroctl.kube.times import seconds, timestamp
from astrosage.spec.cluster import Cluster

BEGAN = "2026-03-01T12:00:00Z"
NOW = seconds("2026-03-01T12:05:00Z")
CLUSTER = "train-0-1-x7k2p"
Object = dict[str, Any]


def ago(past: float) -> str:
    """A time before NOW."""
    return timestamp(NOW - past)


def rayjob(
    deployment: str = "Initializing",
    job: str = "",
    *,
    workers: int = 4,
    ready_workers: int = 0,
    suspend: bool = False,
    queue: str = "",
    created: str = BEGAN,
    cluster_conditions: list[Object] | None = None,
    **status: Any,
) -> Object:
    """A RayJob in the middle of its life."""
    labels = {"astrosage.io/job": "train", "astrosage.io/group": "0", "astrosage.io/attempt": "1"}
    if queue:
        labels["kueue.x-k8s.io/queue-name"] = queue
    known = bool(deployment) and not suspend
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {
            "name": "train-0-1",
            "namespace": "lab",
            "uid": "rayjob-uid",
            "creationTimestamp": created,
            "labels": labels,
        },
        "spec": {"suspend": suspend},
        "status": {
            "jobDeploymentStatus": deployment,
            "jobStatus": job,
            **({"rayClusterName": CLUSTER} if known else {}),
            "rayClusterStatus": {
                "desiredWorkerReplicas": workers,
                "minWorkerReplicas": workers,
                "readyWorkerReplicas": ready_workers,
                "conditions": cluster_conditions or [],
            },
            **status,
        }
        if deployment
        else {},
    }


def condition(kind: str, status: str, reason: str = "", message: str = "") -> Object:
    """A condition of any object."""
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": ago(200),
    }


def pod(
    name: str = "worker-a",
    *,
    head: bool = False,
    node: str | None = None,
    gpus: int = 8,
    said: str | None = None,
    scheduling: str = "Unschedulable",
    phase: str | None = None,
    ready: bool | None = None,
    states: list[Object] | None = None,
    **spec: Any,
) -> Object:
    """A pod of a Ray cluster: waiting for a node unless it has one."""
    resources: Object = {"cpu": "32", "memory": "256Gi"}
    if gpus and not head:
        resources["nvidia.com/gpu"] = str(gpus)
    conditions = []
    if said is not None:
        conditions.append(condition("PodScheduled", "False", scheduling, said))
    if ready is not None:
        conditions.append(condition("Ready", str(ready)))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{CLUSTER}-{'head' if head else name}",
            "namespace": "lab",
            "creationTimestamp": ago(240),
            "labels": {
                "ray.io/cluster": CLUSTER,
                "ray.io/node-type": "head" if head else "worker",
            },
        },
        "spec": {
            "containers": [
                {
                    "name": "ray",
                    "image": "registry.example.org/astrosage/ray:1.0",
                    "resources": {"requests": resources, "limits": resources},
                }
            ],
            **({"nodeName": node} if node else {}),
            **spec,
        },
        "status": {
            "phase": phase or ("Running" if ready is not None else "Pending"),
            "conditions": conditions,
            "containerStatuses": states or [],
            **({"startTime": ago(230)} if node else {}),
        },
    }


def head(**more: Any) -> Object:
    """A head pod that runs and answers."""
    return pod(head=True, **{"node": "cpu-1", "ready": True, "states": [running()], **more})


def running(name: str = "ray") -> Object:
    """A container that runs."""
    return {"name": name, "state": {"running": {"startedAt": ago(100)}}}


def waits(reason: str, message: str = "", name: str = "ray", **more: Any) -> Object:
    """A container that does not start."""
    return {
        "name": name,
        "image": "registry.example.org/astrosage/ray:1.0",
        "state": {"waiting": {"reason": reason, "message": message}},
        **more,
    }


def killed(name: str = "ray", code: int = 137, reason: str = "OOMKilled") -> Object:
    """A container that has ended."""
    over = {"exitCode": code, "reason": reason, "finishedAt": ago(30)}
    return {"name": name, "state": {"terminated": over}}


def event(
    reason: str,
    message: str,
    *,
    about: str = f"{CLUSTER}-worker-a",
    kind: str = "Pod",
    component: str = "kubelet",
    past: float = 60,
) -> Object:
    """An event."""
    return {
        "metadata": {"name": f"{about}.{reason}", "creationTimestamp": ago(past)},
        "involvedObject": {"kind": kind, "name": about},
        "reason": reason,
        "message": message,
        "source": {"component": component},
        "firstTimestamp": ago(past + 60),
        "lastTimestamp": ago(past),
    }


def node(
    name: str = "gpu-1",
    *,
    gpus: int = 8,
    memory: str = "1000Gi",
    labels: dict[str, str] | None = None,
    taint: tuple[str, str] | None = None,
    ready: bool = True,
    unschedulable: bool = False,
) -> Object:
    """A node."""
    taints = [{"key": taint[0], "value": taint[1], "effect": "NoSchedule"}] if taint else []
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"taints": taints, **({"unschedulable": True} if unschedulable else {})},
        "status": {
            "allocatable": {"cpu": "96", "memory": memory, "nvidia.com/gpu": str(gpus)},
            "conditions": [condition("Ready", str(ready))],
        },
    }


def pool(*conditions: Object, spec: Object | None = None, **status: Any) -> Object:
    """A GPUNodePool with its status."""
    return {
        "kind": "GPUNodePool",
        "metadata": {"name": "h100", "creationTimestamp": BEGAN},
        "spec": {
            "gpusPerNode": 8,
            "minNodes": 0,
            "maxNodes": 4,
            "gpuResource": "nvidia.com/gpu",
            **(spec or {}),
        },
        "status": {"current": 2, "desired": 2, "ready": 2, "conditions": [*conditions], **status},
    }


def workload(*conditions: Object, **more: Any) -> Object:
    """A Workload of Kueue."""
    return {
        "metadata": {"name": "rayjob-train-0-1-1a2b3", "creationTimestamp": BEGAN},
        "spec": more.pop("spec", {}),
        "status": {"conditions": [*conditions], **more},
    }


def facts(job: Object | None = None, *pods: Object, **more: Any) -> CapacityFacts:
    """Facts of a job; ``pool_name`` and ``queue_name`` are what the job's cluster says."""
    cluster = Cluster(
        pool=more.pop("pool_name", "h100" if more.get("pool") else None),
        queue=more.pop("queue_name", None),
    )
    return CapacityFacts(cluster, NOW, rayjob() if job is None else job, pods, **more)
