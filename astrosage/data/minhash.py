"""MinHash signatures and their bands.

Broder 1997, "On the resemblance and containment of documents": under a random permutation, two
sets have the same least element with a probability that is their Jaccard similarity. Banding is
that of Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", chapter 3: with b bands of r
rows, two sets of similarity s share a band with probability 1 - (1 - s^r)^b.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from astrosage.data.shingles import mixed

_RECALL = 0.99  # of pairs that are exactly as similar as the threshold
_SEED = 0x6D696E68617368
_BLOCK = 256  # n-grams at a time; their products, 256 KiB, stay in a core's own cache


@dataclass(frozen=True)
class MinHash:
    """Makes signatures.

    Args:
        permutations: K, numbers in a signature.
    """

    permutations: int

    @cached_property
    def _factors(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Multiply-shift hashing (Dietzfelbinger et al. 1997): odd factors, any addends."""
        numbers = mixed(np.arange(1, 2 * self.permutations + 1, dtype=np.uint64) + np.uint64(_SEED))
        return numbers[: self.permutations] | np.uint64(1), numbers[self.permutations :]

    def signature(self, shingles: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """``[K]`` the least hash under each permutation.

        Raises:
            ValueError: If there are no shingles.
        """
        factors, addends = self._factors
        least = np.full(self.permutations, 2**64 - 1, np.uint64)
        for i in range(0, len(shingles), _BLOCK):
            block = shingles[i : i + _BLOCK].astype(np.uint64)[:, None]
            np.minimum(least, (block * factors + addends).min(axis=0), out=least)
        if not len(shingles):
            raise ValueError("no shingles")
        return (least >> np.uint64(32)).astype(np.uint32)


@dataclass(frozen=True)
class Bands:
    """How a signature is cut into bands.

    Attributes:
        count: b.
        rows: r.
    """

    count: int
    rows: int

    @classmethod
    def for_threshold(cls, threshold: float, permutations: int) -> Bands:
        """The longest bands that still find pairs at the threshold in 99 of 100 cases."""
        for rows in range(permutations, 1, -1):
            bands = cls(permutations // rows, rows)
            if bands.recall(threshold) >= _RECALL:
                return bands
        return cls(permutations, 1)

    def recall(self, similarity: float) -> float:
        """Probability that two sets of that Jaccard similarity share a band."""
        return float(1 - (1 - similarity**self.rows) ** self.count)

    def keys(self, signatures: NDArray[np.uint32]) -> NDArray[np.uint64]:
        """``[n, b]`` a key of each band of ``[n, K]`` signatures; bands never share keys."""
        used = signatures[:, : self.count * self.rows].astype(np.uint64)
        parts = used.reshape(len(signatures), self.count, self.rows)
        keys = np.broadcast_to(np.arange(self.count, dtype=np.uint64), parts.shape[:2])
        for row in range(self.rows):
            keys = mixed(keys ^ parts[:, :, row]) + np.uint64(row)
        return keys


def similarity(one: NDArray[np.uint32], many: NDArray[np.uint32]) -> NDArray[np.float64]:
    """``[n]`` estimated Jaccard similarities of a ``[K]`` signature with ``[n, K]`` others."""
    return np.asarray((many == one).mean(axis=1), dtype=np.float64)


def jaccard(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> float:
    """The Jaccard similarity of two ascending sets without repeats."""
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)
