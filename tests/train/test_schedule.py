import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.errors import SpecError
from astrosage.spec.stages import TrainSpec
from astrosage.train import schedule
from astrosage.train.schedule import learning_rate, spans

NAMES = ("cosine", "linear", "constant", "wsd")
ratios = st.floats(0, 1)


def spec(**options: object) -> TrainSpec:
    return TrainSpec.model_validate({"objective": "cpt", "data": "d", **options})


@st.composite
def specs(draw: st.DrawFn, names: tuple[str, ...] = NAMES) -> TrainSpec:
    """A stage of one phase with peak 1."""
    warmup = draw(ratios)
    return spec(
        schedule=draw(st.sampled_from(names)),
        warmupRatio=warmup,
        decayRatio=draw(st.floats(0, 1 - warmup)),
        minLearningRateRatio=draw(ratios),
        learningRate=1.0,
    )


def rates(s: TrainSpec, total: int) -> list[float]:
    return [learning_rate(s, step, total) for step in range(total)]


@given(specs(), st.integers(1, 500))
def test_rises_then_never_rises_again_and_stays_in_bounds(s: TrainSpec, total: int) -> None:
    found = rates(s, total)
    top = found.index(max(found))
    assert all(a <= b for a, b in pairwise(found[: top + 1]))
    assert all(a >= b - 1e-12 for a, b in pairwise(found[top:]))
    assert min(found) > 0 or s.min_learning_rate_ratio == 0
    assert max(found) <= 1 + 1e-9


@given(specs(), st.integers(1, 500))
def test_no_step_is_further_from_the_one_before_than_the_ramps_allow(
    s: TrainSpec, total: int
) -> None:
    warmup = math.ceil(s.warmup_ratio * total)
    decay = total - 1 - warmup
    if s.schedule == "wsd":
        decay = min(math.ceil(s.decay_ratio * total), total - warmup)
    # A cosine falls at most pi / 2 times as fast as a line.
    steepest = max(1 / max(1, warmup), math.pi / 2 / max(1, decay))
    assert all(abs(a - b) <= steepest + 1e-9 for a, b in pairwise(rates(s, total)))


@given(specs(("cosine", "linear", "wsd")), st.integers(1, 500))
def test_ends_at_the_floor_where_there_is_a_step_to_decay(s: TrainSpec, total: int) -> None:
    warmup = math.ceil(s.warmup_ratio * total)
    decays = s.decay_ratio > 0 and total > warmup if s.schedule == "wsd" else total > warmup + 1
    floor = s.min_learning_rate_ratio
    assert rates(s, total)[-1] == pytest.approx(floor if decays else 1.0)


def before(s: TrainSpec, step: int, total: int) -> float:
    """The three schedules as they were first defined."""
    warmup = math.ceil(s.warmup_ratio * total)
    if step < warmup:
        return s.learning_rate * (step + 1) / warmup
    if s.schedule == "constant" or total <= warmup + 1:
        return s.learning_rate
    done = (step - warmup) / (total - 1 - warmup)
    shape = 0.5 * (1 + math.cos(math.pi * done)) if s.schedule == "cosine" else 1 - done
    floor = s.min_learning_rate_ratio
    return s.learning_rate * (floor + (1 - floor) * shape)


@given(specs(("cosine", "linear", "constant")), st.integers(1, 300))
def test_what_was_trained_before_goes_on_as_it_began(s: TrainSpec, total: int) -> None:
    assert rates(s, total) == pytest.approx([before(s, i, total) for i in range(total)], rel=1e-15)


def test_first_step_of_the_warm_up_is_not_zero() -> None:
    assert learning_rate(spec(warmupRatio=0.5, learningRate=1e-3), 0, 10) == pytest.approx(2e-4)


def test_warm_up_stable_decay() -> None:
    s = spec(
        schedule="wsd",
        warmupRatio=0.2,
        decayRatio=0.3,
        minLearningRateRatio=0.1,
        learningRate=1.0,
    )
    assert rates(s, 10) == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 0.7, 0.4, 0.1])


def test_warm_up_stable_decay_without_decay_holds_the_peak() -> None:
    s = spec(schedule="wsd", warmupRatio=0, decayRatio=0, learningRate=1.0)
    assert rates(s, 5) == [1.0] * 5


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=16), st.integers(1, 1000))
def test_phases_are_a_partition_of_the_steps(shares: list[float], total: int) -> None:
    s = spec(phases=[{"share": share} for share in shares])
    if any(total * share / sum(shares) < 1 for share in shares):
        return  # one of them may be refused, which a test below looks at
    found = spans(s, total)
    assert len(found) == len(shares)
    assert all(len(span) >= 1 for span in found)
    assert [step for span in found for step in span] == list(range(total))
    for span, share in zip(found, shares, strict=True):
        assert abs(len(span) - total * share / sum(shares)) <= 1 + 1e-6


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.floats(1e-3, 1e3))
def test_only_the_relation_of_the_shares_counts(shares: list[int], factor: float) -> None:
    total = 2 * sum(shares)
    one = spec(phases=[{"share": share} for share in shares])
    other = spec(phases=[{"share": share * factor} for share in shares])
    assert [len(s) for s in spans(one, total)] == [2 * s for s in shares]
    assert spans(other, total) == spans(one, total)


@given(specs(), st.lists(st.integers(1, 30), min_size=1, max_size=4))
def test_each_phase_begins_the_schedule_anew(s: TrainSpec, steps: list[int]) -> None:
    whole = s.model_copy(update={"phases": spec(phases=[{"share": n} for n in steps]).phases})
    expected = [rate for n in steps for rate in rates(s, n)]
    assert rates(whole, sum(steps)) == expected


def test_a_phase_takes_what_it_does_not_say_from_the_stage() -> None:
    s = spec(
        schedule="constant",
        warmupRatio=0,
        learningRate=1.0,
        phases=[
            {"share": 1},
            {"share": 1, "learningRate": 0.5, "schedule": "linear", "minLearningRateRatio": 0},
        ],
    )
    assert rates(s, 6) == pytest.approx([1, 1, 1, 0.5, 0.25, 0])


def test_a_phase_without_a_step_is_named() -> None:
    s = spec(phases=[{"share": 99}, {"share": 1}])
    with pytest.raises(SpecError, match=r"spec\.stages\[1\]\.train\.phases\[1\]\.share: 1 of 100"):
        schedule.check(s, 10, "spec.stages[1].train")
    schedule.check(s, 100)
    schedule.check(s, None)


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_warm_up_that_never_ends_is_named(name: str) -> None:
    with pytest.raises(SpecError, match=r"train\.warmupRatio: 1 leaves no step"):
        schedule.check(spec(schedule=name, warmupRatio=1.0), 10)
    phases = [{"share": 1}, {"share": 1, "warmupRatio": 1.0}]
    with pytest.raises(SpecError, match=r"train\.phases\[1\]\.warmupRatio: 1 leaves"):
        schedule.check(spec(schedule=name, phases=phases), None)
    schedule.check(spec(schedule="constant", warmupRatio=1.0), 10)


def test_a_step_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="step 10"):
        learning_rate(spec(phases=[{"share": 1}]), 10, 10)
