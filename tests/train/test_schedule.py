from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.spec.stages import TrainSpec
from astrosage.train.schedule import learning_rate


def spec(**options: object) -> TrainSpec:
    return TrainSpec.model_validate({"objective": "cpt", "data": "d", **options})


@given(
    schedule=st.sampled_from(["cosine", "linear", "constant"]),
    warmup=st.floats(0, 1),
    floor=st.floats(0, 1),
    total=st.integers(1, 500),
)
def test_rises_then_never_rises_again_and_stays_in_bounds(
    schedule: str, warmup: float, floor: float, total: int
) -> None:
    s = spec(schedule=schedule, warmupRatio=warmup, minLearningRateRatio=floor, learningRate=1e-3)
    rates = [learning_rate(s, step, total) for step in range(total)]
    top = rates.index(max(rates))
    assert all(a <= b for a, b in pairwise(rates[: top + 1]))
    assert all(a >= b - 1e-12 for a, b in pairwise(rates[top:]))
    assert min(rates) >= 0
    assert max(rates) <= 1e-3 * (1 + 1e-9)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_ends_at_the_floor(schedule: str) -> None:
    s = spec(schedule=schedule, warmupRatio=0.1, minLearningRateRatio=0.1, learningRate=1e-3)
    assert learning_rate(s, 9, 100) == pytest.approx(1e-3)
    assert learning_rate(s, 99, 100) == pytest.approx(1e-4)


def test_first_step_of_the_warm_up_is_not_zero() -> None:
    assert learning_rate(spec(warmupRatio=0.5, learningRate=1e-3), 0, 10) == pytest.approx(2e-4)
