"""A text's word n-grams as numbers, the same on any machine: what near-duplicates have in common.

A word is a run of letters and digits, case folded, so that punctuation, markup and line breaks do
not count. All of it is array arithmetic: a loop over words in Python would take longer than
tokenising them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 20  # characters at a time; bounds memory for records of any size
_BASE = 0x9E3779B97F4A7C15  # odd, so that powers of it do not run into zero modulo 2**64
_POWERS = 256
_BMP = 0x10000  # code points below are the ones that nearly all texts keep to
_GAP = re.compile(r"\W")


def word_hashes(text: str) -> NDArray[np.uint64]:
    """``[words]`` a hash of each word, in order."""
    parts = [_hashes(block) for block in _blocks(text.casefold())]
    return np.concatenate(parts) if parts else np.empty(0, np.uint64)


def shingles(text: str, ngram: int) -> NDArray[np.uint32]:
    """``[n]`` hashes of the different word n-grams, ascending.

    A text of fewer words is one n-gram; one without words has none.
    """
    hashes = word_hashes(text)
    if not len(hashes):
        return np.empty(0, np.uint32)
    width = min(ngram, len(hashes))
    count = len(hashes) - width + 1
    total = np.zeros(count, np.uint64)
    for i in range(width):
        total = total * np.uint64(_BASE) + hashes[i : i + count]
    return np.unique((mixed(total) >> np.uint64(32)).astype(np.uint32))


def mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers in which every bit depends on every bit (the finaliser of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _blocks(text: str) -> Iterator[str]:
    """The text in blocks that end between words."""
    at = 0
    while at < len(text):
        end = at + _BLOCK
        gap = _GAP.search(text, end) if end < len(text) else None
        end = gap.start() if gap else len(text)
        yield text[at:end]
        at = end


def _hashes(text: str) -> NDArray[np.uint64]:
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    inside = _word_characters(_BMP if codes.max(initial=0) < _BMP else 0x110000)[codes]
    change = np.diff(inside.astype(np.int8), prepend=0)
    starts = np.flatnonzero(change == 1)
    if not len(starts):
        return np.empty(0, np.uint64)
    first = starts[0]
    word = np.cumsum(change[first:] == 1) - 1
    place = np.arange(first, len(codes)) - starts[word]
    values = mixed(codes[first:].astype(np.uint64)) * inside[first:]
    return mixed(np.add.reduceat(values * _powers()[place % _POWERS], starts - first))


@cache
def _word_characters(count: int) -> NDArray[np.bool_]:
    """Of the first code points; to ask for all takes a moment that few stages need."""
    return np.fromiter((chr(i).isalnum() for i in range(count)), np.bool_, count)


@cache
def _powers() -> NDArray[np.uint64]:
    return np.cumprod(np.full(_POWERS, _BASE, np.uint64), dtype=np.uint64)
