"""An index of band keys that stays small: sorted arrays that are merged as they grow.

A dictionary would need 100 bytes a key; here it is 12. New keys wait in a small dictionary, and
when that is full they become a sorted run; runs of about the same size are merged, so that there
are never more than a few (O'Neil et al. 1996, "The log-structured merge-tree").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Run = tuple[NDArray[np.uint64], NDArray[np.uint32]]


class BandIndex:
    """Which records have a band key.

    Args:
        waiting: Most keys in the dictionary.
    """

    def __init__(self, waiting: int = 1 << 16) -> None:
        self._most = waiting
        self._new: dict[int, list[int]] = {}
        self._waiting = 0
        self._runs: list[Run] = []

    def add(self, keys: NDArray[np.uint64], record: int) -> None:
        """Remember a record by its ``[b]`` keys."""
        for key in keys.tolist():
            self._new.setdefault(key, []).append(record)
        self._waiting += len(keys)
        if self._waiting >= self._most:
            self._flush()

    def add_many(self, keys: NDArray[np.uint64], first: int) -> None:
        """Remember ``[n, b]`` keys of n records that are numbered from ``first``."""
        records = np.repeat(np.arange(first, first + len(keys), dtype=np.uint32), keys.shape[1])
        self._push(keys.reshape(-1), records)

    def find(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The records that have any of the keys, ascending."""
        found = [r for key in keys.tolist() for r in self._new.get(key, ())]
        parts = [np.array(found, np.int64)]
        for known, records in self._runs:
            low = np.searchsorted(known, keys, "left")
            high = np.searchsorted(known, keys, "right")
            for i in np.flatnonzero(high > low):
                parts.append(records[low[i] : high[i]].astype(np.int64))
        return np.unique(np.concatenate(parts))

    def _flush(self) -> None:
        keys = np.array([k for k, records in self._new.items() for _ in records], np.uint64)
        records = np.array([r for records in self._new.values() for r in records], np.uint32)
        self._new, self._waiting = {}, 0
        self._push(keys, records)

    def _push(self, keys: NDArray[np.uint64], records: NDArray[np.uint32]) -> None:
        run = _sorted(keys, records)
        while self._runs and len(self._runs[-1][0]) <= 2 * len(run[0]):
            other = self._runs.pop()
            run = _sorted(np.concatenate([other[0], run[0]]), np.concatenate([other[1], run[1]]))
        self._runs.append(run)


def _sorted(keys: NDArray[np.uint64], records: NDArray[np.uint32]) -> Run:
    order = np.argsort(keys, kind="stable")
    return keys[order], records[order]
