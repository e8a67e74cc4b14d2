from __future__ import annotations

from typing import Any

import pytest

from astrosage.errors import SpecError
from astrosage.plan import cost
from astrosage.spec.cluster import Cluster
from astrosage.spec.pool import GPUNodePool


def pool(**spec: Any) -> GPUNodePool:
    return GPUNodePool.model_validate(
        {
            "metadata": {"name": "h100"},
            "spec": {
                "driver": "karpenter",
                "reference": {"name": "h100"},
                "maxNodes": 4,
                "gpusPerNode": 8,
                **spec,
            },
        }
    )


def cluster(**fields: Any) -> Cluster:
    return Cluster.model_validate({"workers": 12, "resourcesPerWorker": {"gpu": 1}, **fields})


def test_a_price_on_the_command_line_counts_first() -> None:
    found = cost.price(cluster(pricePerHour=3), 12, "spec.cluster", 2.5, pool(pricePerHour=40))
    assert found.hourly == 30.0


def test_then_the_clusters_own() -> None:
    found = cost.price(cluster(pricePerHour=3), 12, "spec.cluster", None, pool(pricePerHour=40))
    assert (found.hourly, found.source) == (3, "spec.cluster.pricePerHour")


def test_then_the_pools_by_whole_nodes() -> None:
    found = cost.price(cluster(), 12, "spec.cluster", None, pool(pricePerHour=40))
    assert (found.hourly, found.source) == (80, "pool h100, 2 nodes")


def test_no_price_says_where_to_give_one() -> None:
    assert "pricePerHour" in cost.price(cluster(), 12, "spec.cluster", None, None).source
    found = cost.price(cluster(), 12, "spec.cluster", None, pool())
    assert (found.hourly, found.source) == (None, "none: pool h100 has no pricePerHour")


def test_a_price_for_no_gpus_is_refused() -> None:
    without = cluster(resourcesPerWorker={"gpu": 0})
    with pytest.raises(SpecError, match=r"spec\.cluster\.resourcesPerWorker\.gpu is 0"):
        cost.price(without, 12, "spec.cluster", 2.5, None)


def test_pools_without_the_jobs_pool_are_refused() -> None:
    pools = {"h100": pool()}
    with pytest.raises(SpecError, match=r"spec\.cluster names no pool"):
        cost.pool_of(cluster(), "spec.cluster", pools)
    with pytest.raises(SpecError, match="there is no GPUNodePool `h10`") as caught:
        cost.pool_of(cluster(pool="h10"), "spec.cluster", pools)
    assert "did you mean `h100`?" in caught.value.hint
    assert cost.pool_of(cluster(pool="h100"), "spec.cluster", pools) is pools["h100"]
    assert cost.pool_of(cluster(pool="h100"), "spec.cluster", None) is None
