"""Questions of which a text holds a large part, in runs of a few words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_COMMON = 3
"""Runs that stand in more different questions than this are phrases, such as "which of the
following statements about the"; they tell nothing."""

Gram = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a run stands: in which question, from which of its words on."""

    question: int
    first: int


@dataclass(frozen=True, slots=True)
class _Question:
    file: str
    id: str
    words: Gram  # those of its parts that hold a run, the stem's first
    stem: int


class CoverageIndex:
    """Finds questions by the share of their words that a text covers.

    Args:
        ngram: Words in a run.
        coverage: The share that counts.
    """

    def __init__(self, ngram: int, coverage: float) -> None:
        self._ngram, self._least = ngram, coverage
        self._questions: list[_Question] = []
        self._places: dict[Gram, list[_Place]] = {}
        self._stems: dict[Gram, set[Gram]] = {}

    def add(self, parts: Sequence[Sequence[str]], file: str, question: str) -> None:
        """Index a question's stem and options, as far as they hold a run; the stem must."""
        if len(parts[0]) < self._ngram:
            return
        long = [tuple(p) for p in parts if len(p) >= self._ngram]
        number, first = len(self._questions), 0
        for part in long:
            for i in range(len(part) - self._ngram + 1):
                gram = part[i : i + self._ngram]
                self._places.setdefault(gram, []).append(_Place(number, first + i))
                stems = self._stems.setdefault(gram, set())
                if len(stems) <= _COMMON:  # the same question in several files is one
                    stems.add(tuple(parts[0]))
            first += len(part)
        whole = tuple(word for part in long for word in part)
        self._questions.append(_Question(file, question, whole, len(parts[0])))

    def __len__(self) -> int:
        """Questions that can be found."""
        return len(self._questions)

    def find(self, words: Sequence[str]) -> Iterator[tuple[str, str, str, Gram]]:
        """``(file, question, what was found, words in common)`` of each question covered enough.

        A part of the stem must be among them: an option alone may just be what is the case.
        """
        n = self._ngram
        covered: dict[int, set[int]] = {}
        grams = [words[i:] for i in range(n)]
        if self._places.keys().isdisjoint(zip(*grams, strict=False)):
            return  # as most texts do, which this tells twice as fast as what follows
        for gram in zip(*grams, strict=False):
            places = self._places.get(gram)
            if places is None or len(self._stems[gram]) > _COMMON:
                continue
            for place in places:
                covered.setdefault(place.question, set()).update(
                    range(place.first, place.first + n)
                )
        for number in sorted(covered):
            question, found = self._questions[number], sorted(covered[number])
            share = len(found) / len(question.words)
            if share >= self._least and found[0] < question.stem:
                part = f"{n}-grams, {share:.0%} of the question"
                yield question.file, question.id, part, tuple(question.words[i] for i in found)
