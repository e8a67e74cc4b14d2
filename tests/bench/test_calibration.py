from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.bench.calibration import Judgement, calibrate, softmax


@given(st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=10), st.floats(-1e3, 1e3))
def test_probabilities_sum_to_one_and_forget_the_level(scores: list[float], shift: float) -> None:
    found = softmax(scores)
    assert math.fsum(found) == pytest.approx(1.0)
    assert found[scores.index(max(scores))] == max(found)
    assert softmax([s + shift for s in scores]) == pytest.approx(found, abs=1e-6)


def judged(confidence: float, correct: bool) -> Judgement:
    """Of two options the first is chosen."""
    return Judgement([confidence, 1 - confidence], 0, 0 if correct else 1, correct)


def test_a_table_by_hand() -> None:
    found = calibrate([judged(0.9, True), judged(0.92, False), judged(0.65, True)])
    bins = found["bins"]
    assert [b["questions"] for b in bins] == [0, 0, 0, 0, 0, 0, 1, 0, 0, 2]
    assert bins[9] == {
        "low": 0.9,
        "high": 1.0,
        "questions": 2,
        "confidence": pytest.approx(0.91),
        "accuracy": 0.5,
    }
    assert bins[0]["accuracy"] is None
    assert found["expectedCalibrationError"] == pytest.approx(2 / 3 * 0.41 + 1 / 3 * 0.35)
    brier = (2 * 0.1**2 + 2 * 0.92**2 + 2 * 0.35**2) / 3
    assert found["brier"] == pytest.approx(brier)


def test_a_sure_and_right_model_is_without_fault_and_a_sure_and_wrong_one_the_worst() -> None:
    right, wrong = calibrate([judged(1.0, True)] * 4), calibrate([judged(1.0, False)] * 4)
    assert (right["expectedCalibrationError"], right["brier"]) == (0.0, 0.0)
    assert (wrong["expectedCalibrationError"], wrong["brier"]) == (1.0, 2.0)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50))
def test_every_question_is_in_one_bin_and_errors_are_bounded(
    found: list[tuple[float, bool]],
) -> None:
    table = calibrate([judged(c, ok) for c, ok in found])
    assert sum(b["questions"] for b in table["bins"]) == len(found)
    assert 0 <= table["expectedCalibrationError"] <= 1
    assert 0 <= table["brier"] <= 2
