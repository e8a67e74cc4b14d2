from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from astrosage.merge import magnitude

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def thresholds(pieces: Sequence[torch.Tensor], densities: Sequence[float]) -> dict[float, float]:
    def counted(upper: int | None) -> magnitude.Counts:
        return magnitude.total(magnitude.count(piece, upper) for piece in pieces)

    return magnitude.thresholds(counted, densities)


@given(
    pieces=st.lists(st.lists(FLOATS, min_size=1, max_size=20), min_size=1, max_size=5),
    densities=st.lists(st.floats(0.01, 0.99), min_size=1, max_size=3, unique=True),
)
@settings(max_examples=60, deadline=None)
def test_is_the_rank_over_all_pieces_together(
    pieces: list[list[float]], densities: list[float]
) -> None:
    values = sorted((abs(v) for piece in pieces for v in piece), reverse=True)
    found = thresholds([torch.tensor(piece) for piece in pieces], densities)
    for density in densities:
        assert found[density] == values[max(1, round(density * len(values))) - 1]


def test_keeps_exactly_the_share() -> None:
    entries = torch.randn(3000, generator=torch.Generator().manual_seed(0))
    smallest = thresholds([entries], [0.3])[0.3]
    assert int((entries.abs() >= smallest).sum()) == 900


def test_bf16_counts_like_fp32() -> None:
    entries = torch.randn(3000, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert thresholds([entries], [0.2]) == thresholds([entries.float()], [0.2])


def test_full_density_keeps_all_without_counting() -> None:
    def refused(upper: int | None) -> magnitude.Counts:
        pytest.fail("nothing needs to be counted")

    assert magnitude.thresholds(refused, [1.0]) == {1.0: 0.0}
