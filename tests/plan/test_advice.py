from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from astrosage.plan import advice, fit
from astrosage.plan.advice import Advice, Change, Place
from astrosage.plan.communication import Fabric
from astrosage.plan.setup import Setup
from tests.plan.setups import setup

GIB = 2**30
PLACE = Place("train", "cluster.workers", "length")
FAST = Fabric(per_node=8, link=450e9, network=50e9)
LIMIT = 79.0 * GIB


def changed(base: Setup, changes: tuple[Change, ...]) -> Setup:
    """The stage with the changes that were advised."""
    for change in changes:
        name = change.field.rpartition(".")[2]
        if name == "microBatchSize":
            base = replace(base, micro_batch=change.new)
        elif name == "workers":
            base = replace(base, workers=change.new)
        elif name == "length":
            base = replace(base, sequence_length=change.new)
        elif name == "stage":
            base = base.with_stage(change.new)
        elif name == "activationCheckpointing":
            spec = base.spec.model_copy(update={"activation_checkpointing": change.new})
            base = replace(base, spec=spec)
        else:
            key = {
                "offloadOptimizer": "offload_optimizer",
                "hierarchicalPartition": "hierarchical_partition",
            }[name]
            zero = base.spec.zero.model_copy(update={key: change.new})
            base = replace(base, spec=base.spec.model_copy(update={"zero": zero}))
    return base


def fields(found: list[Advice]) -> list[str]:
    return [change.field for a in found for change in a.changes]


@pytest.mark.parametrize(
    ("model", "workers", "micro", "spec"),
    [
        ("llama-3.1-8b", 8, 8, {}),
        ("llama-3.1-8b", 8, 1, {"zero": {"stage": 0}}),
        ("llama-3.1-8b", 2, 1, {"globalBatchSize": 64}),
        ("llama-3.1-70b", 16, 1, {"globalBatchSize": 256}),
        ("llama-3.1-70b", 32, 4, {"zero": {"stage": 1}, "globalBatchSize": 256}),
    ],
)
def test_what_must_change_makes_it_fit(
    model: str, workers: int, micro: int, spec: dict[str, Any]
) -> None:
    base = setup(model, workers, micro=micro, **spec)
    assert not fit.fits(base, LIMIT)
    found = advice.advise(base, PLACE, LIMIT, FAST)
    assert found
    for option in found:
        assert option.needed
        assert option.changes
        assert fit.fits(changed(base, option.changes), LIMIT), option


def test_what_cannot_fit_says_so() -> None:
    found = advice.advise(setup("llama-3.1-405b", 1), PLACE, LIMIT, FAST)
    assert [a.changes for a in found] == [()]
    assert "lora" in found[0].why


def test_a_stage_with_room_is_told_what_it_could_do_without() -> None:
    roomy = setup(
        workers=64,
        activationCheckpointing=True,
        globalBatchSize=512,
        zero={"stage": 3, "offloadOptimizer": "cpu"},
    )
    found = advice.advise(roomy, PLACE, LIMIT, FAST)
    assert not any(a.needed for a in found)
    assert {
        "train.activationCheckpointing",
        "train.zero.offloadOptimizer",
        "train.microBatchSize",
    } <= set(fields(found))
    for option in found:
        assert fit.fits(changed(roomy, option.changes), LIMIT)


def test_several_machines_are_told_to_keep_gathers_inside() -> None:
    many = setup("llama-3.1-70b", 128, activationCheckpointing=True)
    slow = Fabric(per_node=8, link=450e9, network=5e9)
    found = advice.advise(many, PLACE, LIMIT, slow)
    assert "train.zero.hierarchicalPartition" in fields(found)


def test_one_machine_is_not() -> None:
    one = setup(workers=8, activationCheckpointing=True)
    found = advice.advise(one, PLACE, LIMIT, FAST)
    assert "train.zero.hierarchicalPartition" not in fields(found)


def test_advice_is_plain_data() -> None:
    found = advice.advise(setup(workers=8, micro=8), PLACE, LIMIT, FAST)[0].to_dict()
    assert found["needed"] is True
    assert {"field", "old", "new"} == set(found["changes"][0])
