from __future__ import annotations

from typing import Any

import pytest

from astroctl.pools.cluster.matching import accepts, node_kind
from astrosage.spec.pool import GPUNodePool


def pool(**spec: Any) -> GPUNodePool:
    whole = {"driver": "karpenter", "reference": {"name": "x"}, "maxNodes": 4, **spec}
    return GPUNodePool.model_validate({"metadata": {"name": "h100"}, "spec": whole})


def node(labels: dict[str, str] | None = None, *taints: tuple[str, str, str]) -> dict[str, Any]:
    marked = [{"key": k, "value": v, "effect": e} for k, v, e in taints]
    return {"metadata": {"labels": labels or {}}, "spec": {"taints": marked}}


def affinity(*expressions: tuple[str, str, list[str]]) -> dict[str, Any]:
    """Terms of which one must hold, each of one expression."""
    terms = [
        {"matchExpressions": [{"key": k, "operator": o, "values": v}]} for k, o, v in expressions
    ]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"affinity": {"nodeAffinity": required}}


@pytest.mark.parametrize(
    ("spec", "fine"),
    [
        ({}, True),
        ({"nodeSelector": {"astrosage.io/pool": "h100"}}, True),
        ({"nodeSelector": {"astrosage.io/pool": "a100"}}, False),
        ({"nodeSelector": {"disk": "ssd"}}, False),
        (affinity(("astrosage.io/pool", "In", ["a100", "h100"])), True),
        (affinity(("astrosage.io/pool", "In", ["a100"]), ("disk", "Exists", [])), False),
        (affinity(("astrosage.io/pool", "NotIn", ["h100"])), False),
        (affinity(("disk", "DoesNotExist", [])), True),
        (affinity(("disk", "Exists", [])), False),
    ],
)
def test_labels_of_an_empty_pool(spec: dict[str, Any], fine: bool) -> None:
    assert accepts(spec, node_kind(pool())) is fine


def test_labels_of_its_own_replace_ours() -> None:
    kind = node_kind(pool(nodeSelector={"gpu": "h100"}))
    assert accepts({"nodeSelector": {"gpu": "h100"}}, kind)
    assert not accepts({"nodeSelector": {"astrosage.io/pool": "h100"}}, kind)


def test_nodes_show_what_the_pool_does_not_say() -> None:
    nodes = [node({"zone": "a", "size": "8", "name": n}) for n in ("one", "two")]
    kind = node_kind(pool(), nodes)
    assert accepts({"nodeSelector": {"zone": "a"}}, kind)
    assert not accepts({"nodeSelector": {"name": "one"}}, kind), "only one of them has it"
    assert accepts(affinity(("size", "Gt", ["4"])), kind)
    assert not accepts(affinity(("size", "Lt", ["4"])), kind)
    assert not accepts(affinity(("zone", "Gt", ["4"])), kind)


@pytest.mark.parametrize(
    ("product", "fine"),
    [("NVIDIA-H100-80GB-HBM3", True), ("nvidia-h100-80gb", True), ("NVIDIA-A100-SXM4-40GB", False)],
)
def test_an_empty_pool_knows_its_gpus_by_their_name(product: str, fine: bool) -> None:
    for key in ("nvidia.com/gpu.product", "cloud.google.com/gke-accelerator"):
        spec = {"nodeSelector": {key: product}}
        assert accepts(spec, node_kind(pool(accelerator="H100"))) is fine
        assert not accepts(spec, node_kind(pool()))


TOLERATED = [
    ([], False),
    ([{"key": "gpu", "operator": "Exists"}], True),
    ([{"operator": "Exists"}], True),
    ([{"key": "gpu", "operator": "Equal", "value": "h100"}], True),
    ([{"key": "gpu", "value": "a100"}], False),
    ([{"key": "gpu", "operator": "Exists", "effect": "NoExecute"}], False),
    ([{"key": "other", "operator": "Exists"}], False),
]


@pytest.mark.parametrize(("tolerations", "fine"), TOLERATED)
def test_taints_of_nodes(tolerations: list[dict[str, str]], fine: bool) -> None:
    nodes = [node({}, ("gpu", "h100", "NoSchedule"))]
    assert accepts({"tolerations": tolerations}, node_kind(pool(), nodes)) is fine


@pytest.mark.parametrize(("tolerations", "fine"), TOLERATED)
def test_taints_that_an_empty_pool_says_its_nodes_have(
    tolerations: list[dict[str, str]], fine: bool
) -> None:
    said = [{"key": "gpu", "operator": "Equal", "value": "h100", "effect": "NoSchedule"}]
    assert accepts({"tolerations": tolerations}, node_kind(pool(tolerations=said))) is fine


def test_taints_that_pass_or_do_not_repel_are_no_obstacle() -> None:
    nodes = [
        node(
            {},
            ("node.kubernetes.io/unschedulable", "", "NoSchedule"),
            ("soft", "", "PreferNoSchedule"),
        )
    ]
    assert accepts({}, node_kind(pool(), nodes))
    lone = [*nodes, node({}, ("maintenance", "", "NoSchedule"))]
    assert accepts({}, node_kind(pool(), lone)), "the taint of one node is not the pool's"
