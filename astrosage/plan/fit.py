"""The largest micro-batch that fits into a worker's memory."""

from __future__ import annotations

from dataclasses import replace

from astrosage.plan import memory
from astrosage.plan.setup import Setup

# Past this many rows nobody asks; activations are linear, so it is found by halving.
_MOST = 65_536


def fits(setup: Setup, limit: float) -> bool:
    """Whether a worker's peak is within the limit, in bytes."""
    return memory.peak(setup).total <= limit


def largest(setup: Setup, limit: float) -> int:
    """Rows of the largest micro-batch that fits, however they divide; 0 if not even one does."""
    low, high = 0, _MOST
    while low < high:
        middle = (low + high + 1) // 2
        if fits(replace(setup, micro_batch=middle), limit):
            low = middle
        else:
            high = middle - 1
    return low


def largest_usable(setup: Setup, limit: float) -> int:
    """The largest that fits and divides a worker's share of the global batch; 0 if none does."""
    share = setup.spec.global_batch_size // setup.workers
    most = min(share, largest(setup, limit))
    return max((n for n in range(1, most + 1) if share % n == 0), default=0)
