from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from astrosage.bench.statistics import holm, mcnemar, paired_difference, wilson


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(counts: tuple[int, int]) -> None:
    correct, total = counts
    expected = binomtest(correct, total).proportion_ci(0.95, method="wilson")
    low, high = wilson(correct, total)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= low <= correct / total <= high <= 1


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_the_binomial_test(better: int, worse: int) -> None:
    expected = binomtest(better, better + worse).pvalue if better + worse else 1.0
    assert mcnemar(better, worse) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(better, worse) == mcnemar(worse, better)


def test_known_values() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 10) == pytest.approx((0.0, 0.27753), abs=1e-5)
    assert mcnemar(0, 5) == 0.0625
    assert mcnemar(3000, 3000) == 1.0
    assert 0 < mcnemar(3000, 3400) < 1e-6


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="5 of 4"):
        wilson(5, 4)
    with pytest.raises(ValueError, match="negative"):
        mcnemar(-1, 2)
    with pytest.raises(ValueError, match="negative"):
        paired_difference(1, 2, -1, 3)


def test_holm_multiplies_the_smallest_most() -> None:
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), method = "holm")
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.7]) == [0.7]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_keeps_the_order_and_never_helps(values: list[float]) -> None:
    adjusted = holm(values)
    assert all(v <= a <= 1 for v, a in zip(values, adjusted, strict=True))
    pairs = sorted(zip(values, adjusted, strict=True))
    assert [a for _, a in pairs] == sorted(a for _, a in pairs)
    assert min(adjusted) <= len(values) * min(values) + 1e-12


def test_paired_differences_as_published() -> None:
    # Fagerland, Lydersen & Laake 2017, tables 8.2 and 8.4: Newcombe's square-and-add interval.
    found = paired_difference(59, 6, 16, 80)
    assert found == pytest.approx((-0.0621, -0.1186, -0.0046), abs=5e-5)
    found = paired_difference(1, 1, 7, 12)
    assert found == pytest.approx((-0.2857, -0.5069, -0.0256), abs=5e-5)
    assert paired_difference(0, 0, 0, 0) == (0.0, -1.0, 1.0)


@given(*[st.integers(0, 60)] * 4)
def test_paired_differences_hold_the_difference_and_turn_about(
    both: int, better: int, worse: int, neither: int
) -> None:
    value, low, high = paired_difference(both, better, worse, neither)
    assert -1 <= low <= value + 1e-12
    assert value - 1e-12 <= high <= 1
    turned = paired_difference(both, worse, better, neither)
    assert turned == pytest.approx((-value, -high, -low), abs=1e-12)
