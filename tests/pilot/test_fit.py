"""Curves through a pilot's points."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrosage.pilot.fit import accuracy_line, loss_curve, straight

TOKENS = [2e4, 6e4, 2e5, 6e5]


def answers(slope: float, questions: int, seed: int) -> list[list[bool]]:
    """What models answer of which a tenfold of tokens teaches a share of the questions."""
    drawn = random.Random(seed)
    hard = [drawn.random() for _ in range(questions)]
    return [[h < 0.3 + slope * math.log10(t / TOKENS[0]) for h in hard] for t in TOKENS]


def test_an_exact_line_is_found() -> None:
    correct = [[True] * n + [False] * (100 - n) for n in (20, 30, 40)]
    line = accuracy_line([1e3, 1e4, 1e5], correct, 1e6)
    assert line is not None
    assert line.per_tenfold.value == pytest.approx(0.1)
    assert line.ahead.value == pytest.approx(0.5)
    assert line.gain.value == pytest.approx(0.1)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    inside = 0
    for seed in range(200):
        line = accuracy_line(TOKENS, answers(0.05, 400, seed), 6e6)
        assert line is not None
        inside += line.per_tenfold.low <= 0.05 <= line.per_tenfold.high
    assert inside >= 185  # 95 % of 200 are 190


def test_no_gain_is_not_told_as_one() -> None:
    line = accuracy_line(TOKENS, answers(0.0, 400, 1), 6e6)
    assert line is not None
    assert line.gain.low <= 0 <= line.gain.high


@pytest.mark.parametrize("questions", [1, 24, 400])
def test_that_no_answer_changed_is_not_taken_for_certainty(questions: int) -> None:
    same = [n % 3 == 0 for n in range(questions)]
    line = accuracy_line(TOKENS, [same] * len(TOKENS), 1e9)
    assert line is not None
    width = line.gain.high - line.gain.low
    assert line.gain.low < 0 < line.gain.high
    assert width < 12 / questions


def test_two_points_make_a_line_without_scatter_and_one_makes_none() -> None:
    correct = [[True, False, False, True], [True, True, False, True]]
    line = accuracy_line([1e3, 1e4], correct, 1e5)
    assert line is not None
    assert line.per_tenfold.value == pytest.approx(0.25)
    assert accuracy_line([1e3], correct[:1], 1e5) is None
    assert accuracy_line([1e3, 1e4], [[], []], 1e5) is None


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=2, max_size=6))
def test_predictions_are_accuracies_and_lie_in_their_intervals(correct: list[list[bool]]) -> None:
    tokens = [10.0 ** (i + 3) for i in range(len(correct))]
    line = accuracy_line(tokens, correct, 10 * tokens[-1])
    assert line is not None
    for estimate in (line.per_tenfold, line.ahead, line.gain):
        assert estimate.low - 1e-9 <= estimate.value <= estimate.high + 1e-9
    assert line.ahead.low >= 0.0
    assert line.ahead.high <= 1.0


@settings(max_examples=30, deadline=None)
@given(
    st.floats(0.5, 3.0), st.floats(1.0, 50.0), st.integers(10, 60), st.sampled_from([10.0, 100.0])
)
def test_a_power_law_is_found_again(floor: float, scale: float, h: int, times: float) -> None:
    a = h / 100  # as fine as exponents are looked for
    losses = [floor + scale * t**-a for t in TOKENS]
    ahead = times * TOKENS[-1]
    curve = loss_curve(TOKENS, losses, ahead)
    assert curve is not None
    truth = floor + scale * ahead**-a
    assert curve.ahead.value == pytest.approx(truth, rel=0.02)
    assert curve.ahead.low <= truth <= curve.ahead.high
    assert curve.at(TOKENS[0]) == pytest.approx(losses[0], rel=0.01)


def test_a_loss_that_does_not_fall_is_not_predicted_to() -> None:
    curve = loss_curve(TOKENS, [3.0, 3.0, 3.0, 3.0], 6e6)
    assert curve is not None
    assert curve.ahead.value == pytest.approx(3.0, abs=0.01)
    assert loss_curve(TOKENS[:2], [3.0, 2.9], 6e6) is None


def test_hours_go_with_tokens_after_a_start() -> None:
    assert straight([1.0, 2.0, 4.0], [1.5, 2.0, 3.0], 10.0) == pytest.approx(6.0)
    assert straight([1.0], [1.0], 10.0) is None
