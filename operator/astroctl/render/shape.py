"""How many pods a cluster has, and what each of them asks for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from astrosage.spec.cluster import Cluster, Elastic
from astrosage.spec.pool import GPUNodePool
from astrosage.units import parse_bytes

DEFAULT_GPU_RESOURCE = "nvidia.com/gpu"
# A share of pod memory that is enough for Ray's object store and for what workers of one pod share.
_SHARED_FRACTION = 4
# Guards against 0.1 + 0.2.
_DIGITS = 6


@dataclass(frozen=True)
class Shape:
    """The worker pods of a group.

    Attributes:
        workers_per_pod: Workers that share a pod.
        min_pods: Pods from the start, and the fewest.
        max_pods: The most pods.
        cpu: Cores of a pod.
        gpus: GPUs of a pod.
        gpu_resource: Their resource name.
        memory: Bytes of a pod; None for no limit.
        shared_memory: Bytes of a pod's /dev/shm; None for as much as the kernel gives.
        elastic: Whether the number of pods changes.
    """

    workers_per_pod: int
    min_pods: int
    max_pods: int
    cpu: float
    gpus: int
    gpu_resource: str
    memory: int | None
    shared_memory: int | None
    elastic: bool


def shape(cluster: Cluster, pool: GPUNodePool | None = None) -> Shape:
    """The worker pods that a cluster needs: all of its workers at once, whole workers in each pod.

    Args:
        cluster: What is asked for.
        pool: The nodes they run on, if a pool is named.
    """
    each = cluster.resources_per_worker
    together = workers_per_pod(cluster, pool)
    memory = together * parse_bytes(each.memory) if each.memory else None
    return Shape(
        workers_per_pod=together,
        min_pods=math.ceil(cluster.min_workers / together),
        max_pods=math.ceil(cluster.max_workers / together),
        cpu=round(together * each.cpu, _DIGITS),
        gpus=math.ceil(round(together * each.gpu, _DIGITS)),
        gpu_resource=pool.spec.gpu_resource if pool else DEFAULT_GPU_RESOURCE,
        memory=memory,
        shared_memory=_shared_memory(cluster, memory),
        elastic=isinstance(cluster.workers, Elastic),
    )


def workers_per_pod(cluster: Cluster, pool: GPUNodePool | None) -> int:
    """Workers that share a pod.

    Where the job does not say: as many as a node of the pool has GPUs for, spread evenly, so that
    no pod asks for GPUs that no worker uses; without GPUs or pool one.
    """
    if cluster.workers_per_node is not None:
        return cluster.workers_per_node
    gpu = cluster.resources_per_worker.gpu
    if pool is None or not gpu:
        return 1
    fit = max(1, math.floor(round(pool.spec.gpus_per_node / gpu, _DIGITS)))
    pods = math.ceil(cluster.max_workers / fit)
    return math.ceil(cluster.max_workers / pods)


def _shared_memory(cluster: Cluster, memory: int | None) -> int | None:
    if cluster.kubernetes.shared_memory is not None:
        return parse_bytes(cluster.kubernetes.shared_memory)
    return memory // _SHARED_FRACTION if memory else None
