"""Questions that were asked before: equal ones, and nearly equal ones."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict

from astrosage.generate.checks import words

_SHINGLE = 3
_LIKE = 0.6  # of the word triples of both, those in common


class Asked:
    """Remembers questions.

    Args:
        nearly: Whether nearly equal ones count too; their words are then held in memory.
    """

    def __init__(self, *, nearly: bool) -> None:
        self._nearly = nearly
        self._equal: dict[bytes, str] = {}
        self._sizes: dict[str, int] = {}
        self._holders: dict[tuple[str, ...], list[str]] = defaultdict(list)

    def like(self, question: str) -> str | None:
        """The name of a remembered question that is the same, or nearly so."""
        if (found := self._equal.get(_key(question))) is not None or not self._nearly:
            return found
        mine = _shingles(question)
        common: Counter[str] = Counter()
        for shingle in mine:
            common.update(self._holders.get(shingle, ()))
        for name, shared in common.most_common():
            if shared >= _LIKE * (len(mine) + self._sizes[name] - shared):
                return name
        return None

    def add(self, name: str, question: str) -> None:
        """Remember a question under a name."""
        self._equal.setdefault(_key(question), name)
        if self._nearly:
            found = _shingles(question)
            self._sizes[name] = len(found)
            for shingle in found:
                self._holders[shingle].append(name)


def _key(question: str) -> bytes:
    return hashlib.blake2b(" ".join(words(question)).encode(), digest_size=16).digest()


def _shingles(question: str) -> set[tuple[str, ...]]:
    found = words(question)
    return {tuple(found[i : i + _SHINGLE]) for i in range(max(1, len(found) - _SHINGLE + 1))}
