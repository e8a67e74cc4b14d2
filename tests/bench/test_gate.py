import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrosage.bench.gate import judge
from astrosage.errors import SpecError


def summary(
    both: int, better: int, worse: int, neither: int, name: str = "quiz"
) -> dict[str, object]:
    total = both + better + worse + neither
    scored = {
        "model": {"correct": both + better, "total": total},
        "baseline": {"correct": both + worse, "total": total},
        "paired": {"better": better, "worse": worse, "p": 1.0},
    }
    return {"name": name, "headline": "likelihood", "methods": {"likelihood": scored}}


def passed(margin: float, *counts: int) -> bool:
    (verdict,) = judge({"sets": [summary(*counts)]}, margin)
    return verdict.passed


def test_the_same_answers_pass_and_worse_ones_do_not() -> None:
    assert passed(0.01, 200, 0, 0, 100)
    assert passed(0.01, 200, 40, 5, 100)
    assert not passed(0.01, 200, 5, 40, 100)


def test_few_questions_show_nothing_and_many_do() -> None:
    (verdict,) = judge({"sets": [summary(20, 6, 6, 8)]}, 0.02)
    assert not verdict.passed
    assert "more questions" in verdict.describe()
    assert passed(0.02, 2000, 200, 200, 1600)


@given(
    counts=st.tuples(*[st.integers(0, 300)] * 4).filter(lambda c: sum(c) > 0),
    margin=st.floats(0, 0.2),
    wider=st.floats(0, 0.2),
)
@settings(max_examples=100, deadline=None)
def test_a_wider_margin_never_refuses_what_a_narrower_one_lets_pass(
    counts: tuple[int, int, int, int], margin: float, wider: float
) -> None:
    assert not passed(margin, *counts) or passed(margin + wider, *counts)


@given(counts=st.tuples(*[st.integers(0, 300)] * 4).filter(lambda c: sum(c) > 0))
@settings(max_examples=100, deadline=None)
def test_no_margin_lets_pass_only_what_is_no_worse(counts: tuple[int, int, int, int]) -> None:
    (verdict,) = judge({"sets": [summary(*counts)]}, 0.0)
    assert verdict.low <= verdict.difference + 1e-12 <= verdict.high + 2e-12
    assert not verdict.passed or counts[1] >= counts[2]


def test_what_cannot_be_judged_is_named() -> None:
    found = {"sets": [summary(1, 1, 1, 1)]}
    with pytest.raises(SpecError, match="no question set `quizz`") as caught:
        judge(found, 0.01, ["quizz"])
    assert "quiz" in caught.value.hint
    with pytest.raises(SpecError, match="not scored by `generation`"):
        judge(found, 0.01, method="generation")
    del found["sets"][0]["methods"]["likelihood"]["paired"]  # type: ignore[index, attr-defined]
    with pytest.raises(SpecError, match="without a baseline"):
        judge(found, 0.01)
