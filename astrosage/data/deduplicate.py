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

    def __contains__(self, key: bytes) -> bool:
        return key in self._seen

    def is_new(self, key: bytes) -> bool:
        """Whether the key comes up for the first time; it is remembered."""
        if key in self._seen:
            return False
        self._seen.add(key)
        return True
