from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrosage.plan import communication
from astrosage.plan.communication import EFFICIENCY, Fabric
from tests.plan.setups import setup

FAST = Fabric(per_node=8, link=450e9, network=50e9)


def test_one_worker_has_nobody_to_talk_to() -> None:
    alone = setup(workers=1)
    assert communication.per_worker(alone) == 0
    assert communication.seconds(alone, FAST) == 0


@pytest.mark.parametrize(
    ("stage", "parameters", "gradients"), [(0, 0, 4), (1, 1, 4), (2, 1, 4), (3, 1, 2)]
)
def test_volumes_of_two_workers_by_stage(stage: int, parameters: int, gradients: int) -> None:
    pair = setup("smollm2-135m", 2, zero={"stage": stage}, cuda=False)
    found = communication.volume(pair)
    count = pair.shape.parameters
    assert found.wide + found.near == 2 * parameters * count
    assert found.gradients == gradients * count
    assert communication.per_worker(pair) == found.total / 2


def test_accumulation_multiplies_what_zero_3_gathers_but_not_what_zero_1_does() -> None:
    for stage, times in ((1, 1), (3, 4)):
        one = setup(workers=8, globalBatchSize=8, zero={"stage": stage})
        four = setup(workers=8, globalBatchSize=32, zero={"stage": stage})
        assert communication.volume(four).total == times * communication.volume(one).total


def test_a_second_partition_keeps_the_backward_gathers_near() -> None:
    plain = communication.volume(setup(workers=64))
    near = communication.volume(setup(workers=64, zero={"stage": 3, "hierarchicalPartition": 8}))
    parameters = setup().shape.parameters
    assert near.wide == 2 * parameters
    assert near.near == pytest.approx(2 * (parameters - 1e9))  # what is still there is not gathered
    assert near.wide + near.near == plain.wide
    assert near.gradients == plain.gradients


def test_a_node_receives_each_byte_once_over_all_its_cards() -> None:
    size, nodes = 16e9, 4
    inside = size * 7 / 8 / FAST.link
    between = size * (nodes - 1) / nodes / (8 * FAST.network)
    assert FAST.seconds(size, 8) == pytest.approx(inside / EFFICIENCY)
    assert FAST.seconds(size, 8 * nodes) == pytest.approx(max(inside, between) / EFFICIENCY)


@settings(deadline=None)
@given(workers=st.sampled_from([16, 64, 512]), network=st.floats(1e9, 1e12))
def test_a_faster_network_never_takes_longer(workers: int, network: float) -> None:
    base = setup("llama-3.1-70b", workers)
    slow, fast = Fabric(8, 450e9, network), Fabric(8, 450e9, 2 * network)
    assert communication.seconds(base, fast) <= communication.seconds(base, slow)
