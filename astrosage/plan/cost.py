"""What an hour of a stage's workers costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from astrosage.errors import SpecError
from astrosage.spec.base import did_you_mean
from astrosage.spec.cluster import Cluster
from astrosage.spec.pool import GPUNodePool


@dataclass(frozen=True)
class Price:
    """USD an hour.

    Attributes:
        hourly: For all workers of the stage; None where nothing is known.
        source: Where the figure is from, for people.
    """

    hourly: float | None
    source: str


def price(
    cluster: Cluster,
    workers: int,
    where: str,
    per_gpu_hour: float | None,
    pool: GPUNodePool | None,
) -> Price:
    """What so many workers cost.

    A price on the command line counts first, then the cluster's own, then the pool's.

    Args:
        cluster: The stage's.
        workers: How many run.
        where: The cluster's field, for messages.
        per_gpu_hour: As given on the command line.
        pool: The pool that the cluster names, where it is known.

    Raises:
        SpecError: If a price is given for GPUs that there are none of.
    """
    gpus = workers * cluster.resources_per_worker.gpu
    if per_gpu_hour is not None:
        if not gpus:
            raise SpecError(
                f"--price-per-gpu-hour: the workers have no GPUs ({where}.resourcesPerWorker.gpu "
                "is 0)",
                f"--set {where}.resourcesPerWorker.gpu=1, or give {where}.pricePerHour",
            )
        return Price(per_gpu_hour * gpus, "--price-per-gpu-hour")
    if cluster.price_per_hour is not None:
        return Price(cluster.price_per_hour, f"{where}.pricePerHour")
    if pool is None:
        return Price(None, f"none: give {where}.pricePerHour, --pools or --price-per-gpu-hour")
    spec = pool.spec
    if spec.price_per_hour is None:
        return Price(None, f"none: pool {pool.metadata.name} has no pricePerHour")
    nodes = math.ceil(gpus / spec.gpus_per_node) if spec.gpus_per_node else workers
    return Price(nodes * spec.price_per_hour, f"pool {pool.metadata.name}, {nodes} nodes")


def pool_of(
    cluster: Cluster, where: str, pools: Mapping[str, GPUNodePool] | None
) -> GPUNodePool | None:
    """The pool that a cluster names; None if no pools are given.

    Raises:
        SpecError: If pools are given and it names none, or none of them.
    """
    if pools is None:
        return None
    if cluster.pool is None:
        raise SpecError(
            f"--pools: {where} names no pool, so that no price and no GPU can be taken from one",
            f"--set {where}.pool=… (there are: {', '.join(sorted(pools)) or 'none'}), or leave "
            "--pools out",
        )
    if cluster.pool not in pools:
        raise SpecError(
            f"{where}.pool: there is no GPUNodePool `{cluster.pool}` in the pools given",
            did_you_mean(cluster.pool, pools),
        )
    return pools[cluster.pool]
