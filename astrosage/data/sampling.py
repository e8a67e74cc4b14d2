"""Which records are held out, and how often a record is seen an epoch: by hash, not by order.

A record's fate follows from its text alone, so it stays the same when data is added or sources
are put in another order.
"""

from __future__ import annotations

import hashlib
import math


def uniform(key: bytes, purpose: str) -> float:
    """A number in [0, 1) that follows from key and purpose."""
    value = hashlib.blake2b(key, digest_size=8, person=purpose.encode()[:16]).digest()
    return (int.from_bytes(value, "big") >> 11) / 2**53  # a double holds 53 bits


def is_held_out(key: bytes, fraction: float) -> bool:
    """Whether a record belongs to validation; a larger fraction keeps those of a smaller one."""
    return uniform(key, "validation") < fraction


def is_in_part(key: bytes, fraction: float) -> bool:
    """Whether a record belongs to a part of the corpus; a larger part holds a smaller one."""
    return uniform(key, "fraction") < fraction


def copies(key: bytes, weight: float, seed: int) -> int:
    """How often an epoch shows a record: ``weight`` on average, its whole part at the least."""
    whole = math.floor(weight)
    return whole + (uniform(key, f"w{seed}"[:16]) < weight - whole)
