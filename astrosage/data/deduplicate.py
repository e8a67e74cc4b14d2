"""Exact deduplication: records are equal when they differ in case and white space only."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from astrosage.data.appended import Table
from astrosage.data.keyindex import KeyIndex
from astrosage.data.records import Record

KEY_BYTES = 16


def record_key(record: Record) -> bytes:
    """A hash of the record's texts and roles, case and white space folded."""
    parts = [" ".join(text.casefold().split()) for text in record.texts]
    roles = [m["role"] for m in record.messages]
    return hashlib.blake2b(json.dumps([roles, parts]).encode(), digest_size=KEY_BYTES).digest()


class Deduplicator:
    """Remembers keys: in a file, so that memory holds 2 bytes of each.

    Args:
        file: Where they lie, so that an interrupted run can go on; None: a temporary file.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._keys = Table(KEY_BYTES, np.uint8, file)
        self._index = KeyIndex(file.parent if file else None)

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: bytes) -> bool:
        found = self._index.find([_number(key)])
        return bool(found) and any(row.tobytes() == key for row in self._keys.take(found))

    def is_new(self, key: bytes) -> bool:
        """Whether the key comes up for the first time; it is remembered."""
        if key in self:
            return False
        self._index.add([_number(key)], len(self))
        self._keys.add(key)
        return True

    def add_many(self, keys: NDArray[np.uint8]) -> None:
        """Remember ``[n, 16]`` keys."""
        self._index_rows(keys, len(self))
        self._keys.add(keys)

    def stored(self) -> int:
        """How many there are, now that all are in the file; :meth:`restore` takes it."""
        return self._keys.stored()

    def restore(self, count: int) -> None:
        """Take up as many keys as an interrupted run had seen."""
        self._keys.restore(count)
        first = 0
        for rows in self._keys.blocks():
            self._index_rows(rows, first)
            first += len(rows)

    def _index_rows(self, rows: NDArray[np.uint8], first: int) -> None:
        self._index.add_many(np.ascontiguousarray(rows[:, :8]).view("<u8"), first)


def _number(key: bytes) -> int:
    return int.from_bytes(key[:8], "little")
