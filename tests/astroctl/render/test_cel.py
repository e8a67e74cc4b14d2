"""The rules that the API server evaluates (CEL), evaluated here on objects that do and do not hold.

Kubernetes adds ``has()`` on fields and ``oldSelf``; both are plain CEL.
"""

from __future__ import annotations

from typing import Any

import celpy
import pytest

from astroctl.render.crd import crds
from tests.astroctl.render.test_crd import nodes, schema

RULES = [
    (path, rule["rule"])
    for kind in ("AstroJob", "GPUNodePool")
    for path, node in nodes(schema(kind), kind)
    for rule in node.get("x-kubernetes-validations", [])
]


def holds(rule: str, value: Any, before: Any = None) -> bool:
    environment = celpy.Environment()
    program = environment.program(environment.compile(rule))
    found = program.evaluate(
        {"self": celpy.json_to_cel(value), "oldSelf": celpy.json_to_cel(before or value)}
    )
    return bool(found)


def rules_at(path: str) -> list[str]:
    found = [rule for where, rule in RULES if where == path]
    assert found, path
    return found


STAGE = "AstroJob.spec.stages[]"
# The API server fills defaults in before it asks the rules.
TRAIN = {"schedule": "cosine", "warmupRatio": 0.03, "decayRatio": 0.1}
CASES = [
    ("AstroJob", {"metadata": {"name": "a" * 40}}, True),
    ("AstroJob", {"metadata": {"name": "a" * 41}}, False),
    (STAGE, {"name": "a", "train": {}}, True),
    (STAGE, {"name": "a"}, False),
    (STAGE, {"name": "a", "train": {}, "bench": {}}, False),
    (f"{STAGE}.train", {**TRAIN, "epochs": 1.0}, True),
    (f"{STAGE}.train", TRAIN, True),
    (f"{STAGE}.train", {**TRAIN, "epochs": 1.0, "maxSteps": 2}, False),
    (f"{STAGE}.train", {**TRAIN, "schedule": "wsd"}, True),
    (f"{STAGE}.train", {**TRAIN, "schedule": "wsd", "decayRatio": 1.0}, False),
    (
        f"{STAGE}.train.zero",
        {"stage": 3, "offloadParameters": "cpu", "offloadOptimizer": "cpu"},
        True,
    ),
    (
        f"{STAGE}.train.zero",
        {"stage": 2, "offloadParameters": "cpu", "offloadOptimizer": "none"},
        False,
    ),
    (
        f"{STAGE}.train.zero",
        {"stage": 0, "offloadParameters": "none", "offloadOptimizer": "cpu"},
        False,
    ),
    (
        f"{STAGE}.train.zero",
        {"stage": 3, "offloadParameters": "nvme", "offloadOptimizer": "none"},
        False,
    ),
    (
        f"{STAGE}.train.zero",
        {
            "stage": 3,
            "offloadParameters": "nvme",
            "offloadOptimizer": "nvme",
            "nvmePath": "/nvme",
            "hierarchicalPartition": 8,
        },
        True,
    ),
    (f"{STAGE}.merge", {"method": "linear", "models": [{}, {}]}, True),
    (f"{STAGE}.merge", {"method": "linear", "base": "x", "models": [{}]}, False),
    (f"{STAGE}.merge", {"method": "dare_ties", "base": "x", "models": [{}, {}]}, True),
    (f"{STAGE}.merge", {"method": "ties", "models": [{}, {}]}, False),
    (f"{STAGE}.merge", {"method": "slerp", "base": "x", "models": [{}, {}]}, False),
    (f"{STAGE}.merge.models[].overrides[]", {"weight": 1.0, "densities": [0.1, 1.0]}, True),
    (f"{STAGE}.merge.models[].overrides[]", {"weight": 1.0, "weights": [0.1, 1.0]}, False),
    (f"{STAGE}.merge.models[].overrides[]", {"tensors": "*"}, False),
    (f"{STAGE}.bench", {"model": "x"}, True),
    (f"{STAGE}.bench", {"model": "x", "endpoint": {}}, False),
    (f"{STAGE}.bench", {}, False),
    (f"{STAGE}.generate", {"kind": "chat", "reasoning": 0.5, "writer": {}}, True),
    (f"{STAGE}.generate", {"kind": "questions", "reasoning": 0.5, "writer": {}}, False),
    (f"{STAGE}.generate", {"budget": {"usd": 1.0}, "writer": {"prices": {}}}, True),
    (f"{STAGE}.generate", {"budget": {"usd": 1.0}, "writer": {}}, False),
    (
        f"{STAGE}.generate",
        {"budget": {"usd": 1.0}, "writer": {"prices": {}}, "grader": {}},
        False,
    ),
    ("AstroJob.spec.cluster.kubernetes.env[]", {"name": "A", "value": "b"}, True),
    ("AstroJob.spec.cluster.kubernetes.env[]", {"name": "A"}, False),
    (
        "AstroJob.spec.cluster.kubernetes.env[]",
        {"name": "A", "value": "b", "secret": {"name": "s", "key": "k"}},
        False,
    ),
    (
        "GPUNodePool.spec",
        {"driver": "scale", "reference": {"apiVersion": "a/v1", "kind": "B"}}
        | {"minNodes": 0, "maxNodes": 2},
        True,
    ),
    (
        "GPUNodePool.spec",
        {"driver": "scale", "reference": {"kind": "B"}, "minNodes": 0, "maxNodes": 2},
        False,
    ),
    (
        "GPUNodePool.spec",
        {"driver": "eks", "reference": {"name": "B"}, "minNodes": 0, "maxNodes": 2},
        False,
    ),
    (
        "GPUNodePool.spec",
        {"driver": "karpenter", "reference": {"name": "B"}, "minNodes": 3, "maxNodes": 2},
        False,
    ),
]


@pytest.mark.parametrize(("path", "value", "expected"), CASES)
def test_rules(path: str, value: dict[str, Any], expected: bool) -> None:
    assert all(holds(rule, value) for rule in rules_at(path)) == expected


def test_what_a_run_is_made_of_cannot_be_changed() -> None:
    before = {"storage": "s3://a/b", "model": "m"}
    found = rules_at("AstroJob.spec")
    assert all(holds(rule, before, before) for rule in found)
    for field in before:
        assert not all(holds(rule, {**before, field: "other"}, before) for rule in found)


def test_every_kind_of_rule_is_tried() -> None:
    tried = {path for path, _, _ in CASES} | {"AstroJob.spec"}
    # The same group of fields may stand in several places.
    untried = {rule for path, rule in RULES if path not in tried}
    assert untried <= {rule for path, rule in RULES if path in tried}
    assert len(crds()) == 2
