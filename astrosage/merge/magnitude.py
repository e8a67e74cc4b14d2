"""The magnitude above which a share of many entries lies, found by counting pieces.

TIES trims the difference of a whole model, and that vector may not fit into memory. As bit
patterns, non-negative fp32 numbers are ordered like the numbers themselves, so that two passes of
counting, over the upper and then over the lower 16 bits, find the exact rank. Counts of pieces add
up, wherever they were made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_HALF = 16
_BINS = 1 << _HALF

Counts = NDArray[np.int64]
Count = Callable[["int | None"], Counts]
"""Counts all entries by their upper half; or, given an upper half, those that have it by their
lower half."""


def count(piece: Tensor, upper: int | None = None) -> Counts:
    """Entries of a piece by the upper half of their magnitude's bits, or by the lower half.

    Args:
        piece: Of any floating type.
        upper: Count only the entries with this upper half, by their lower half.
    """
    bits = piece.to(torch.float32).abs().view(torch.int32).numpy()
    if upper is None:
        return np.bincount(bits >> _HALF, minlength=_BINS)
    return np.bincount(bits[bits >> _HALF == upper] & (_BINS - 1), minlength=_BINS)


def thresholds(counted: Count, densities: Sequence[float]) -> dict[float, float]:
    """For each density the smallest magnitude among that share of largest magnitude.

    Args:
        counted: Counts all entries; called once, and once more for each distinct upper half.
        densities: Shares to be kept, 0 to 1; of each at least one entry is.
    """
    found = {density: 0.0 for density in densities if density >= 1}
    partial = [density for density in densities if density < 1]
    if not partial:
        return found
    uppers = counted(None)
    total = int(uppers.sum())
    lowers: dict[int, Counts] = {}
    for density in partial:
        kept = max(1, round(density * total))
        high, above = _bin_of_rank(uppers, kept)
        if high not in lowers:
            lowers[high] = counted(high)
        low, _ = _bin_of_rank(lowers[high], kept - above)
        found[density] = float(np.array(high << _HALF | low, dtype=np.int32).view(np.float32))
    return found


def total(counts: Iterable[Counts]) -> Counts:
    """The counts of several pieces together."""
    return sum(counts, np.zeros(_BINS, np.int64))


def _bin_of_rank(counts: Counts, rank: int) -> tuple[int, int]:
    """The bin that holds the ``rank``-th entry from the top, and how many lie in bins above it."""
    from_top = counts[::-1].cumsum()
    position = int(np.searchsorted(from_top, rank))
    above = int(from_top[position - 1]) if position else 0
    return len(counts) - 1 - position, above
