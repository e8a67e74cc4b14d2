"""Which records have a key: an index on disk of which memory holds one and a half bytes a key.

A log-structured merge-tree (O'Neil et al. 1996): new keys wait in a dictionary; when that is full
they become a sorted run in a file; runs of about the same size are merged, so that there are never
more than a few. Of each run memory holds the first key of every block, so that one read finds any
other, and a filter (Bloom 1970) that tells of most keys that they are not in it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrosage.data.appended import Appended

_ENTRY = np.dtype([("key", "<u8"), ("record", "<u4")])
_BLOCK = 512  # entries that are read for one
_MERGED = 1 << 16  # entries that are merged at a time
_FILTER_BITS = 8  # a key, at least: 1 in 20 keys at most is looked for in vain


class KeyIndex:
    """Records by their keys.

    Keys are 64-bit hashes, evenly spread. Entries lie in temporary files.

    Args:
        folder: Where files lie; None: in the system's folder for temporary ones.
        waiting: Most keys in the dictionary.
    """

    def __init__(self, folder: Path | None = None, waiting: int = 1 << 16) -> None:
        self._folder, self._most = folder, waiting
        self._new: dict[int, int] = {}  # the first record of a key; most keys have no other
        self._others: dict[int, list[int]] = {}
        self._waiting = 0
        self._runs: list[_Run] = []

    def add(self, keys: Iterable[int], record: int) -> None:
        """Remember a record by its keys."""
        for key in keys:
            if self._new.setdefault(key, record) != record:
                self._others.setdefault(key, []).append(record)
            self._waiting += 1
        if self._waiting >= self._most:
            self._flush()

    def add_many(self, keys: NDArray[np.uint64], first: int) -> None:
        """Remember ``[n, b]`` keys of n records that are numbered from ``first``."""
        records = np.repeat(np.arange(first, first + len(keys)), keys.shape[1])
        self._push(keys.reshape(-1), records)

    def find(self, keys: Iterable[int]) -> list[int]:
        """The records that have any of the keys, ascending."""
        found: set[int] = set()
        for key in keys:
            if key in self._new:
                found.add(self._new[key])
                found.update(self._others.get(key, ()))
            for run in self._runs:
                if run.may_have(key):
                    found.update(run.find(key))
        return sorted(found)

    def _flush(self) -> None:
        entries = [*self._new.items()]
        entries += [(key, r) for key, records in self._others.items() for r in records]
        self._new, self._others, self._waiting = {}, {}, 0
        keys, records = zip(*entries, strict=True)
        self._push(np.array(keys, np.uint64), np.array(records, np.int64))

    def _push(self, keys: NDArray[np.uint64], records: NDArray[np.int64]) -> None:
        if not len(keys):
            return
        entries = np.empty(len(keys), _ENTRY)
        entries["key"], entries["record"] = keys, records
        run = _Run(self._folder, len(entries))
        run.extend(_ascending(entries))
        while self._runs and self._runs[-1].count <= 2 * run.count:
            run = _merged(self._folder, self._runs.pop(), run)
        self._runs.append(run)


class _Run:
    """Entries by ascending key, in a file.

    Args:
        folder: Where.
        count: How many there will be.
    """

    def __init__(self, folder: Path | None, count: int) -> None:
        self._file = Appended(folder=folder)
        self._fences = array("Q")  # the first key of each block
        bits = max(10, (_FILTER_BITS * count - 1).bit_length())
        self._shift, self._mask = 64 - bits, (1 << bits) - 1
        self._bytes = bytearray((1 << bits) // 8)  # one of its bytes costs less than an array's
        self._filter = np.frombuffer(self._bytes, np.uint8)
        self.count = 0

    def extend(self, entries: NDArray[Any]) -> None:
        """Add entries whose keys ascend and come after those before."""
        keys = np.ascontiguousarray(entries["key"])
        for places in (keys >> np.uint64(self._shift), keys & np.uint64(self._mask)):
            bits = (1 << (places & np.uint64(7))).astype(np.uint8)
            np.bitwise_or.at(self._filter, (places >> np.uint64(3)).astype(np.int64), bits)
        self._fences.extend(keys[-self.count % _BLOCK :: _BLOCK].tolist())
        self._file.add(entries.tobytes())
        self.count += len(entries)

    def may_have(self, key: int) -> bool:
        """False where no entry has the key; True for some of those that none has, too."""
        high, low, known = key >> self._shift, key & self._mask, self._bytes
        return bool(known[high >> 3] >> (high & 7) & known[low >> 3] >> (low & 7) & 1)

    def find(self, key: int) -> list[int]:
        """The records of a key."""
        first = max(0, bisect_left(self._fences, key) - 1)
        last = bisect_right(self._fences, key)
        entries = self._read(first * _BLOCK, (last - first) * _BLOCK)
        found: list[int] = entries["record"][entries["key"] == np.uint64(key)].tolist()
        return found

    def parts(self) -> Iterator[NDArray[Any]]:
        """All entries, some at a time."""
        for first in range(0, self.count, _MERGED):
            yield self._read(first, _MERGED)

    def _read(self, first: int, count: int) -> NDArray[Any]:
        size = _ENTRY.itemsize
        return np.frombuffer(self._file.read(count * size, first * size), _ENTRY)


def _merged(folder: Path | None, one: _Run, other: _Run) -> _Run:
    result = _Run(folder, one.count + other.count)
    left, right = one.parts(), other.parts()
    a, b = next(left), next(right)
    while len(a) and len(b):
        # Whatever comes later, of either, is not before this key.
        until = min(a["key"][-1], b["key"][-1])
        i, j = (int(np.searchsorted(x["key"], until, "right")) for x in (a, b))
        result.extend(_ascending(np.concatenate([a[:i], b[:j]])))
        a = a[i:] if i < len(a) else next(left, a[:0])
        b = b[j:] if j < len(b) else next(right, b[:0])
    for rest, parts in ((a, left), (b, right)):
        if len(rest):
            result.extend(rest)
        for part in parts:
            result.extend(part)
    return result


def _ascending(entries: NDArray[Any]) -> NDArray[Any]:
    return entries[np.argsort(entries["key"], kind="stable")]
