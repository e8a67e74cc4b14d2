"""Exact deduplication: records are equal when they differ in case and white space only."""

from __future__ import annotations

import hashlib
import json

from astrosage.data.records import Record

KEY_BYTES = 16


def record_key(record: Record) -> bytes:
    """A hash of the record's texts and roles, case and white space folded."""
    parts = [" ".join(text.casefold().split()) for text in record.texts]
    roles = [m["role"] for m in record.messages]
    return hashlib.blake2b(json.dumps([roles, parts]).encode(), digest_size=KEY_BYTES).digest()


class Deduplicator:
    """Remembers what was seen: 16 bytes a record, plus the set's own cost."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()
        self._fresh: list[bytes] = []

    def __contains__(self, key: bytes) -> bool:
        return key in self._seen

    def is_new(self, key: bytes) -> bool:
        """Whether the key comes up for the first time; it is remembered."""
        if key in self._seen:
            return False
        self._seen.add(key)
        self._fresh.append(key)
        return True

    def growth(self) -> bytes:
        """The keys that are new since this was last asked, as :meth:`grow` takes them."""
        fresh, self._fresh = b"".join(self._fresh), []
        return fresh

    def grow(self, keys: bytes) -> None:
        """Take up keys that an interrupted run had seen."""
        self._seen.update(keys[i : i + KEY_BYTES] for i in range(0, len(keys), KEY_BYTES))
