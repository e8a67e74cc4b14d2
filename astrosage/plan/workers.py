"""What a stage's workers are: processors or GPUs, of which kind, how many on a machine."""

from __future__ import annotations

from dataclasses import dataclass

from astrosage.errors import SpecError
from astrosage.plan.accelerators import Accelerator, find
from astrosage.plan.communication import Fabric
from astrosage.spec.cluster import Cluster
from astrosage.spec.pool import GPUNodePool

# Assumed where neither the run file nor a pool says.
GPUS_PER_NODE = 8


@dataclass(frozen=True)
class Workers:
    """A stage's workers.

    Attributes:
        where: Path of their cluster in the run file.
        cuda: Whether they have GPUs.
        gpu: Which; None if they have none, or nobody says.
        per_node: How many share a machine.
        pool: Their pool, where it is known.
    """

    where: str
    cuda: bool
    gpu: Accelerator | None
    per_node: int
    pool: GPUNodePool | None

    @classmethod
    def of(
        cls,
        cluster: Cluster,
        where: str,
        pool: GPUNodePool | None,
        given: Accelerator | None,
    ) -> Workers:
        """The workers of a cluster.

        Args:
            cluster: What is asked for.
            where: Its path in the run file.
            pool: The pool it names, if known.
            given: The GPUs, if said on the command line.

        Raises:
            SpecError: If GPUs are named and there are none, or the pool's are unknown.
        """
        cuda = cluster.resources_per_worker.gpu > 0
        if given is not None and not cuda:
            raise SpecError(
                f"--accelerator: the workers have no GPUs ({where}.resourcesPerWorker.gpu is 0)",
                f"--set {where}.resourcesPerWorker.gpu=1",
            )
        if cuda and pool is not None and not pool.spec.gpus_per_node:
            raise SpecError(
                f"{where}.pool: the nodes of pool {cluster.pool} have no GPUs (gpusPerNode is 0)",
                "name another pool, or correct its gpusPerNode",
            )
        named = pool.spec.accelerator if pool else None
        if given is None and cuda and named:
            given = find(named, f"pool {cluster.pool}: spec.accelerator")
        return cls(where, cuda, given, _per_node(cluster, pool), pool)

    def fabric(self, network: float | None) -> Fabric | None:
        """How they reach one another; None if the GPU is unknown.

        Args:
            network: Bytes/s of each GPU to other machines; None: the GPU's usual.
        """
        if self.gpu is None:
            return None
        return Fabric(
            self.per_node, self.gpu.link, self.gpu.network if network is None else network
        )


def _per_node(cluster: Cluster, pool: GPUNodePool | None) -> int:
    if cluster.workers_per_node is not None:
        return cluster.workers_per_node
    gpu = cluster.resources_per_worker.gpu
    if not gpu:
        return 1
    return max(1, int((pool.spec.gpus_per_node if pool else GPUS_PER_NODE) / gpu))
