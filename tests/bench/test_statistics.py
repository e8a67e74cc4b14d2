import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from astrosage.bench.statistics import mcnemar, wilson


@given(total=st.integers(1, 5000), share=st.floats(0, 1))
def test_wilson_is_that_of_scipy(total: int, share: float) -> None:
    correct = round(share * total)
    expected = binomtest(correct, total).proportion_ci(0.95, method="wilson")
    assert wilson(correct, total) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(better=st.integers(0, 400), worse=st.integers(0, 400))
def test_mcnemar_is_the_exact_binomial_test(better: int, worse: int) -> None:
    trials = better + worse
    expected = binomtest(better, trials).pvalue if trials else 1.0
    assert mcnemar(better, worse) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(better, worse) == mcnemar(worse, better)


def test_edges() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0
    for bad in ((-1, 10), (11, 10)):
        with pytest.raises(ValueError, match="no proportion"):
            wilson(*bad)
    with pytest.raises(ValueError, match="negative"):
        mcnemar(-1, 2)
