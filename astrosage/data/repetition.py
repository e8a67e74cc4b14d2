"""Filters for documents that repeat themselves: table A1 of Rae et al. 2021 (Gopher)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from astrosage.data.shingles import mixed
from astrosage.spec.clean import Repetition

_PARAGRAPH = re.compile(r"\n{2,}")


def repetition(text: str, options: Repetition) -> str | None:
    """The first filter that the text fails, None if it passes all."""
    size = max(len(text), 1)
    lines = [line for raw in text.split("\n") if (line := raw.strip())]
    paragraphs = [part for raw in _PARAGRAPH.split(text) if (part := raw.strip())]
    for kind, parts in (("Lines", lines), ("Paragraphs", paragraphs)):
        count, characters = _repeated(parts)
        if parts and count / len(parts) > options.max_duplicate_lines:
            return f"duplicate{kind}"
        if characters / size > options.max_duplicate_line_characters:
            return f"duplicate{kind[:-1]}Characters"
    words = text.split()
    known: dict[str, int] = {}
    ids = np.array([known.setdefault(word, len(known)) for word in words], np.uint64)
    lengths = np.array([len(word) for word in words], np.int64)
    for n, share in enumerate(options.max_top_ngrams, 2):
        if _top(ids, lengths, n) / size > share:
            return f"top{n}gram"
    for n, share in enumerate(options.max_duplicate_ngrams, 5):
        if _duplicated(ids, lengths, n) / size > share:
            return f"duplicate{n}grams"
    return None


def _repeated(parts: Sequence[str]) -> tuple[int, int]:
    """How many parts stood earlier, and their characters."""
    seen: set[str] = set()
    count = characters = 0
    for part in parts:
        if part in seen:
            count += 1
            characters += len(part)
        seen.add(part)
    return count, characters


def _ngrams(ids: NDArray[np.uint64], n: int) -> NDArray[np.uint64]:
    """``[words - n + 1]`` a hash of each n-gram."""
    count = len(ids) - n + 1
    total = np.zeros(count, np.uint64)
    for i in range(n):
        total = mixed(total + ids[i : i + count] + np.uint64(1))
    return total


def _top(ids: NDArray[np.uint64], lengths: NDArray[np.int64], n: int) -> int:
    """Characters in all places of the most frequent n-gram, if it stands twice at least."""
    if len(ids) < n:
        return 0
    _, first, counts = np.unique(_ngrams(ids, n), return_index=True, return_counts=True)
    if counts.max() < 2:
        return 0
    sizes = np.convolve(lengths, np.ones(n, np.int64), "valid")[first]
    return int((counts * sizes)[counts == counts.max()].max())


def _duplicated(ids: NDArray[np.uint64], lengths: NDArray[np.int64], n: int) -> int:
    """Characters in n-grams that stood earlier; a word in several of them counts once."""
    if len(ids) < n:
        return 0
    grams = _ngrams(ids, n)
    again = np.ones(len(grams), np.bool_)
    again[np.unique(grams, return_index=True)[1]] = False
    covered = np.convolve(again, np.ones(n, np.int64)) > 0
    return int(lengths[covered].sum())
