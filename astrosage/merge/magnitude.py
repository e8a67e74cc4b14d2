"""The magnitude above which a share of all of a model's entries lies, found by streaming.

TIES trims the difference of a whole model, not of each tensor, and that vector may not fit into
memory. As bit patterns, non-negative fp32 numbers are ordered like the numbers themselves, so that
two passes of counting, over the upper and then over the lower 16 bits, find the exact rank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

_HALF = 16
_BINS = 1 << _HALF
_CHUNK = 1 << 22

Stream = Callable[[], Iterable[Tensor]]


def threshold(stream: Stream, density: float) -> float:
    """The smallest magnitude among the share ``density`` of largest magnitude.

    Args:
        stream: Gives all tensors (fp32, any shape) afresh at each call.
        density: The share to be kept, 0 to 1; at least one entry is.
    """
    if density >= 1:
        return 0.0
    upper = torch.zeros(_BINS, dtype=torch.int64)
    for bits in _bits(stream):
        upper += torch.bincount(bits >> _HALF, minlength=_BINS)
    kept = max(1, round(density * int(upper.sum())))
    high, above = _bin_of_rank(upper, kept)
    lower = torch.zeros(_BINS, dtype=torch.int64)
    for bits in _bits(stream):
        lower += torch.bincount(bits[bits >> _HALF == high] & (_BINS - 1), minlength=_BINS)
    low, _ = _bin_of_rank(lower, kept - above)
    return float(torch.tensor(high << _HALF | low, dtype=torch.int32).view(torch.float32))


def _bits(stream: Stream) -> Iterable[Tensor]:
    for tensor in stream():
        for chunk in torch.split(tensor.flatten(), _CHUNK):
            yield chunk.abs().view(torch.int32)


def _bin_of_rank(counts: Tensor, rank: int) -> tuple[int, int]:
    """The bin that holds the ``rank``-th entry from the top, and how many lie in bins above it."""
    from_top = counts.flip(0).cumsum(0)
    position = int(torch.searchsorted(from_top, rank))
    above = int(from_top[position - 1]) if position else 0
    return counts.numel() - 1 - position, above
