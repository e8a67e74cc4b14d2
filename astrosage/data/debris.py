"""Debris of text recognition: characters, phrases and sentences that repeat themselves.

Models that read pages (Blecher et al. 2023, "Nougat") fall into loops where a page is hard to read.
"""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from astrosage.spec.clean import Debris

_KEPT_CHARACTERS = 3
_LONG_PHRASE = 4  # words; shorter ones are repeated on purpose too: "very, very"
_SHORT_TIMES, _LONG_TIMES = 4, 2
_SENTENCE_WORDS = 5
_WORD = re.compile(r"\S+")
_SENTENCE = re.compile(r"[^.!?\n]*[.!?\n]+\s*|[^.!?\n]+$")


class DebrisRemover:
    """Shortens repeats.

    Args:
        options: What counts as one.
    """

    def __init__(self, options: Debris) -> None:
        self._options = options
        self._run = re.compile(rf"([^\d\s])\1{{{options.character_run},}}")

    def apply(self, text: str) -> tuple[str, dict[str, int]]:
        """The text without repeats, and how much of each kind went.

        Applying it to what it has made may find more, since what was parted may have come together.
        """
        counts: dict[str, int] = {}
        text, counts["characterRuns"] = self._run.subn(
            lambda found: found[1] * _KEPT_CHARACTERS, text
        )
        text, counts["repeatedPhraseWords"] = drop_phrases(text, self._options.phrase_words)
        text, counts["repeatedSentences"] = drop_sentences(text, self._options.sentence_repeats)
        return text, {kind: count for kind, count in counts.items() if count}


def drop_phrases(text: str, longest: int) -> tuple[str, int]:
    """The text without immediate repeats of phrases, and how many words went.

    A phrase must have letters in at least half of its words: rows of numbers are data.
    """
    spans = [found.span() for found in _WORD.finditer(text)]
    known: dict[str, int] = {}
    ids = np.array([known.setdefault(text[a:b], len(known)) for a, b in spans], np.int64)
    lettered = np.array([any(map(str.isalpha, word)) for word in known], np.bool_)
    kept = np.arange(len(ids))
    for period in range(1, min(longest, len(ids) // 2) + 1):
        repeats = _repeats(ids[kept], period, lettered)
        kept = kept[~repeats]
    if len(kept) == len(spans):
        return text, 0
    pieces = [text[spans[i - 1][1] if i else 0 : spans[i][1]] for i in kept.tolist()]
    return "".join([*pieces, text[spans[-1][1] :]]), len(spans) - len(kept)


def _repeats(ids: NDArray[np.int64], period: int, lettered: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """``[n]`` which words repeat the ``period`` words before them."""
    found = np.zeros(len(ids), np.bool_)
    times = _LONG_TIMES if period >= _LONG_PHRASE else _SHORT_TIMES
    same = np.zeros(len(ids) + 1, np.int8)
    same[period:-1] = ids[period:] == ids[:-period]
    change = np.diff(same, prepend=0)
    for start, end in zip(np.flatnonzero(change == 1), np.flatnonzero(change == -1), strict=True):
        whole = (end - start) // period
        phrase = ids[start - period : start]
        if whole >= times - 1 and 2 * lettered[phrase].sum() >= period:
            found[start : start + whole * period] = True
    return found


def drop_sentences(text: str, most: int) -> tuple[str, int]:
    """The text without sentences that have stood ``most`` times, and how many went."""
    counts: Counter[str] = Counter()
    pieces, dropped = [], 0
    for found in _SENTENCE.finditer(text):
        words = found[0].casefold().split()
        key = " ".join(words)
        lettered = sum(any(map(str.isalpha, w)) for w in words)
        if len(words) >= _SENTENCE_WORDS and 2 * lettered >= len(words):
            counts[key] += 1
            if counts[key] > most:
                dropped += 1
                continue
        pieces.append(found[0])
    return ("".join(pieces).rstrip() if dropped else text), dropped
