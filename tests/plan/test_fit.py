from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from astrosage.plan import fit
from tests.plan.setups import setup

GIB = 2**30


@settings(deadline=None)
@given(stage=st.integers(0, 3), gib=st.integers(1, 400), rows=st.sampled_from([1, 6, 24]))
def test_the_largest_that_fits_fits_and_the_next_does_not(stage: int, gib: int, rows: int) -> None:
    base = setup(workers=8, globalBatchSize=8 * rows, zero={"stage": stage})
    limit = float(gib * GIB)
    most = fit.largest(base, limit)
    assert most == 0 or fit.fits(replace(base, micro_batch=most), limit)
    assert not fit.fits(replace(base, micro_batch=most + 1), limit)
    usable = fit.largest_usable(base, limit)
    assert usable <= most
    if usable:
        assert rows % usable == 0
        assert not [n for n in range(usable + 1, most + 1) if n <= rows and rows % n == 0]
