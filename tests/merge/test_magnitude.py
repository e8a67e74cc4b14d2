from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from astrosage.merge import magnitude

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(
    tensors=st.lists(st.lists(FLOATS, min_size=1, max_size=20), min_size=1, max_size=5),
    density=st.floats(0.01, 0.99),
)
@settings(max_examples=100, deadline=None)
def test_is_the_rank_over_all_tensors_together(tensors: list[list[float]], density: float) -> None:
    values = sorted((abs(v) for t in tensors for v in t), reverse=True)
    expected = values[max(1, round(density * len(values))) - 1]
    stream = partial(map, torch.tensor, tensors)
    assert magnitude.threshold(stream, density) == expected


def test_does_not_depend_on_how_tensors_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = torch.randn(3, 1000, generator=torch.Generator().manual_seed(0))
    whole = magnitude.threshold(partial(iter, [tensor]), 0.3)
    monkeypatch.setattr(magnitude, "_CHUNK", 7)
    assert magnitude.threshold(partial(iter, [tensor]), 0.3) == whole
    assert int((tensor.abs() >= whole).sum()) == 900


def test_full_density_keeps_all_without_reading() -> None:
    assert magnitude.threshold(partial(iter, [None]), 1.0) == 0.0  # type: ignore[list-item]
