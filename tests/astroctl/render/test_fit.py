from __future__ import annotations

from typing import Any

from astroctl.render.fit import fit
from astroctl.render.groups import groups
from astroctl.render.problems import Problem
from astrosage.spec.cluster import Cluster
from astrosage.spec.pool import GPUNodePool
from tests.astroctl.render.reference import small


def problems(cluster: dict[str, Any], **pool: Any) -> list[Problem]:
    job = small(**cluster)
    spec = {"driver": "karpenter", "reference": {"name": "x"}, "maxNodes": 4, **pool}
    there = GPUNodePool.model_validate({"metadata": {"name": "h100"}, "spec": spec})
    (group,) = groups(job)
    return fit(job, group, there)


def test_what_fits_is_not_complained_of() -> None:
    each = {"cpu": 12, "gpu": 1, "memory": "100Gi"}
    whole = {"cpusPerNode": 96, "memoryPerNode": "800Gi", "pricePerHour": 40}
    assert problems({"workers": 32, "resourcesPerWorker": each}, **whole) == []
    budget = {"budget": {"perHour": 160}}
    assert problems({"workers": 32, "resourcesPerWorker": each}, **whole, **budget) == []


def test_a_worker_larger_than_a_node() -> None:
    each = {"cpu": 200, "gpu": 16, "memory": "2Ti"}
    found = problems({"resourcesPerWorker": each}, cpusPerNode=96, memoryPerNode="800Gi")
    assert [p.path for p in found] == [
        f"spec.cluster.resourcesPerWorker.{name}" for name in ("gpu", "cpu", "memory")
    ]
    assert found[0].message == "a worker wants 16 GPUs; a node of pool h100 has 8 GPUs"
    assert found[1].message == "a worker wants 200 cores; a node of pool h100 has 96 cores"
    assert found[2].message == "a worker wants 2.0 TiB; a node of pool h100 has 800.0 GiB"


def test_too_many_workers_in_a_pod() -> None:
    (found,) = problems({"workersPerNode": 9, "workers": 9, "resourcesPerWorker": {"gpu": 1}})
    assert found.path == "spec.cluster.workersPerNode"
    assert found.message == "9 workers of a pod want 9 GPUs; a node of pool h100 has 8 GPUs"


def test_workers_that_share_a_node_by_default_and_do_not_fit() -> None:
    cluster = {"workers": 8, "resourcesPerWorker": {"gpu": 1, "cpu": 16}}
    (found,) = problems(cluster, cpusPerNode=96)
    assert found.path == "spec.cluster.resourcesPerWorker.cpu"
    assert "8 workers of a pod want 128 cores" in found.message


def test_more_nodes_than_the_pool_may_have() -> None:
    (found,) = problems({"workers": 33, "resourcesPerWorker": {"gpu": 1}})
    assert found.path == "spec.cluster.workers"
    assert found.message == "33 workers need 5 nodes; pool h100 has at most 4"
    assert problems({"workers": {"min": 8, "max": 64}, "resourcesPerWorker": {"gpu": 1}}) == []


def test_more_money_than_the_pool_may_spend() -> None:
    (found,) = problems(
        {"workers": 16, "resourcesPerWorker": {"gpu": 1}},
        pricePerHour=40,
        budget={"perHour": 79.99},
    )
    assert "2 nodes at 80.00 USD an hour together; the budget of pool h100 is 79.99" in str(found)


def test_pods_smaller_than_a_node_share_it() -> None:
    each = {"gpu": 0, "cpu": 8, "memory": "64Gi"}
    small_pods = {"workers": 16, "resourcesPerWorker": each}
    assert problems(small_pods, gpusPerNode=0, cpusPerNode=32) == []
    (found,) = problems(small_pods, gpusPerNode=0, cpusPerNode=32, memoryPerNode="128Gi")
    assert "16 workers need 8 nodes" in found.message


def test_a_stage_with_its_own_cluster_is_named() -> None:
    job = small()
    job.spec.stages[0].cluster = Cluster.model_validate({"resourcesPerWorker": {"gpu": 9}})
    (group,) = groups(job)
    spec = {"driver": "karpenter", "reference": {"name": "x"}, "maxNodes": 4}
    pool = GPUNodePool.model_validate({"metadata": {"name": "h100"}, "spec": spec})
    (found,) = fit(job, group, pool)
    assert found.path == "spec.stages[0].cluster.resourcesPerWorker.gpu"
