from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrosage.plan import pace, workload
from astrosage.plan.accelerators import ACCELERATORS
from astrosage.plan.communication import Fabric
from astrosage.plan.pace import KERNEL_SHARE, OVERLAP
from astrosage.plan.setup import Setup
from astrosage.plan.workload import Rows, Work
from tests.plan.setups import setup

PEAK = ACCELERATORS["H100"].tflops * 1e12
FAST = Fabric(per_node=8, link=450e9, network=50e9)
SLOW = Fabric(per_node=8, link=450e9, network=1e6)


def work(of: Setup) -> Work:
    length = float(of.sequence_length)
    return workload.work(of, Rows(1000.0, 1.0, 1.0, length, "", estimated=False))


@settings(deadline=None)
@given(mfu=st.floats(0.01, 1.0))
def test_a_known_mfu_is_the_one_that_comes_out(mfu: float) -> None:
    base = setup(workers=8, activationCheckpointing=True)
    found = pace.pace(base, work(base), pace.assumed(PEAK, mfu), FAST)
    if not found.network_bound:
        assert found.mfu == pytest.approx(mfu)
        flops = work(base).step_flops / work(base).step_tokens
        assert found.tokens_per_second == pytest.approx(8 * mfu * PEAK / flops)


def test_without_measurement_recomputing_and_communication_cost_mfu() -> None:
    plain = setup(workers=8, globalBatchSize=64)
    again = setup(workers=8, globalBatchSize=64, activationCheckpointing=True)
    rate = pace.assumed(PEAK, None)
    one = pace.pace(plain, work(plain), rate, None)
    assert one.mfu == pytest.approx(KERNEL_SHARE)
    two = pace.pace(again, work(again), rate, None)
    assert two.mfu is not None
    assert 0.75 < two.mfu / KERNEL_SHARE < 0.8  # the output layer is not computed again
    three = pace.pace(plain, work(plain), rate, FAST)
    assert three.step_seconds == pytest.approx(one.step_seconds + (1 - OVERLAP) * three.talking)


def test_a_network_that_is_too_slow_sets_the_pace() -> None:
    base = setup(workers=16)
    found = pace.pace(base, work(base), pace.assumed(PEAK, 0.4), SLOW)
    assert found.network_bound
    assert found.step_seconds == found.talking
    assert found.mfu is not None
    assert found.mfu < 0.01


def test_frozen_weights_cost_a_third_less() -> None:
    adapters = setup(workers=1, lora={"rank": 8})
    whole = setup(workers=1)
    rate = pace.assumed(PEAK, None)
    ratio = (
        pace.pace(adapters, work(adapters), rate, None).step_seconds
        / pace.pace(whole, work(whole), rate, None).step_seconds
    )
    assert 2 / 3 < ratio < 0.7
