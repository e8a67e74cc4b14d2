"""Solved examples before a question, from a file that shares no question with those scored."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace

from astrosage.bench.question import Question
from astrosage.errors import DataError, SpecError

_WORD = re.compile(r"\w+")


class Shots:
    """Chooses examples, always the same ones for one seed.

    Args:
        candidates: Questions with keys.
        count: Examples before each question.
        seed: Seeds the choice.
        field: The file's place in the run file, for messages.

    Raises:
        SpecError: If there are fewer candidates than examples.
        DataError: If a candidate has no key.
    """

    def __init__(
        self, candidates: Sequence[Question], count: int, seed: int, field: str = "shotsFrom"
    ) -> None:
        if len(candidates) < count:
            raise SpecError(
                f"{field}: {len(candidates)} questions, {count} examples are wanted",
                "lower `shots`, or name a larger file",
            )
        if any(c.answer is None for c in candidates):
            raise DataError(
                f"{field}: the file has no keys, so its questions are no examples",
                "name a file with keys",
            )
        self._count, self._field = count, field
        # The order depends on the seed and on each candidate alone, not on the file's order.
        self._candidates = sorted(candidates, key=lambda c: _place(c, seed))

    def refuse_scored(self, scored: Iterable[Question]) -> None:
        """Stop if an example is scored too.

        Raises:
            DataError: Naming both.
        """
        known = {_content(q): q.id for q in scored}
        for candidate in self._candidates:
            same = known.get(_content(candidate))
            if same is not None:
                raise DataError(
                    f"{self._field}: question `{candidate.id}` is scored too, as `{same}`",
                    "remove it from the examples: no question is shown with its answer before it "
                    "is asked",
                )

    def before(self, question: Question) -> Question:
        """The question with its examples: of its own topic if there are enough of that."""
        own = [c for c in self._candidates if question.topic and c.topic == question.topic]
        pool = own if len(own) >= self._count else self._candidates
        return replace(question, shots=tuple(pool[: self._count]))


def _place(candidate: Question, seed: int) -> str:
    return hashlib.sha256(f"{seed} {candidate.id} {candidate.question}".encode()).hexdigest()


def _content(question: Question) -> tuple[str, frozenset[str]]:
    """A question without what does not change it: case, punctuation, the order of its options."""
    return _words(question.question), frozenset(map(_words, question.choices))


def _words(text: str) -> str:
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold())) or text
