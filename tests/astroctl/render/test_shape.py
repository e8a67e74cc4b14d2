from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astroctl.render import quantity
from astroctl.render.shape import shape
from astrosage.spec.cluster import Cluster
from astrosage.spec.pool import GPUNodePool


def cluster(**fields: Any) -> Cluster:
    return Cluster.model_validate(fields)


def pool(**fields: Any) -> GPUNodePool:
    spec = {"driver": "karpenter", "reference": {"name": "x"}, "maxNodes": 64, **fields}
    return GPUNodePool.model_validate({"metadata": {"name": "h100"}, "spec": spec})


@pytest.mark.parametrize(
    ("workers", "gpu", "on_node", "pods", "in_pod"),
    [
        (16, 1, 8, 2, 8),
        (12, 1, 8, 2, 6),
        (9, 1, 8, 2, 5),
        (4, 1, 8, 1, 4),
        (3, 2, 8, 1, 3),
        (4, 8, 8, 4, 1),
        (6, 0.5, 1, 3, 2),
        (2, 16, 8, 2, 1),
        (4, 1, 0, 4, 1),
    ],
)
def test_pods_hold_as_many_workers_as_a_node_has_gpus_for(
    workers: int, gpu: float, on_node: int, pods: int, in_pod: int
) -> None:
    asked = cluster(workers=workers, resourcesPerWorker={"gpu": gpu})
    form = shape(asked, pool(gpusPerNode=on_node))
    assert (form.min_pods, form.max_pods, form.workers_per_pod) == (pods, pods, in_pod)
    assert not form.elastic


def test_without_gpus_or_pool_a_pod_is_a_worker() -> None:
    assert shape(cluster(workers=5)).max_pods == 5
    assert shape(cluster(workers=5), pool()).max_pods == 5
    assert shape(cluster(workers=5, resourcesPerWorker={"gpu": 1})).max_pods == 5


def test_the_job_may_say_how_many_share_a_pod() -> None:
    each = {"cpu": 1.5, "gpu": 0.5, "memory": "3Gi"}
    form = shape(cluster(workers=5, workersPerNode=3, resourcesPerWorker=each))
    assert (form.workers_per_pod, form.max_pods) == (3, 2)
    assert (form.cpu, form.gpus, form.memory) == (4.5, 2, 9 * 2**30)
    assert form.shared_memory == 9 * 2**30 // 4


def test_an_elastic_cluster_begins_with_the_fewest() -> None:
    form = shape(cluster(workers={"min": 3, "max": 16}, workersPerNode=4))
    assert (form.min_pods, form.max_pods, form.elastic) == (1, 4, True)


def test_shared_memory_is_what_is_asked_for() -> None:
    asked = cluster(resourcesPerWorker={"memory": "8Gi"}, kubernetes={"sharedMemory": "1Gi"})
    assert shape(asked).shared_memory == 2**30
    assert shape(cluster()).shared_memory is None


@given(st.integers(0, 2**60))
def test_bytes_are_written_exactly(value: int) -> None:
    assert quantity.parse_memory(quantity.memory(value)) == value


@given(st.integers(1, 10**6))
def test_cores_are_never_rounded_down(thousandths: int) -> None:
    value = thousandths / 1000
    assert quantity.parse_cores(quantity.cores(value)) == pytest.approx(value)
    assert quantity.parse_cores(quantity.cores(value + 0.0001)) >= value


def test_quantities_are_kubernetes_own() -> None:
    assert quantity.memory(48 * 2**30) == "48Gi"
    assert quantity.memory(1500) == "1500"
    assert quantity.cores(0.5) == "500m"
    assert quantity.cores(8.0) == "8"
    assert quantity.parse_memory("1e3") == 1000
    assert quantity.parse_memory("2k") == 2000
    with pytest.raises(ValueError, match="much"):
        quantity.parse_memory("much")
