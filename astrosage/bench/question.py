"""A multiple-choice question."""

from __future__ import annotations

from dataclasses import dataclass

LETTERS = "ABCDEFGHIJ"
MIN_CHOICES, MAX_CHOICES = 2, len(LETTERS)


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its options and key.

    Attributes:
        id: Its name, unique in its file.
        question: The stem.
        choices: Two to ten options, at least two of them different.
        answer: Index of the right option, from 0; None where the file has no keys.
        topic: What it is about, for the per-topic table.
        explanation: Why the right option is right.
        article: The text that it tests, where known.
        year: The year of that text, where known.
        shots: Solved examples that are shown before it.
    """

    id: str
    question: str
    choices: tuple[str, ...]
    answer: int | None
    topic: str | None = None
    explanation: str | None = None
    article: str | None = None
    year: int | None = None
    shots: tuple[Question, ...] = ()

    @property
    def has_equal_choices(self) -> bool:
        """Whether two options say the same; published question sets do contain such slips."""
        return len(set(map(folded, self.choices))) < len(self.choices)

    def is_right(self, chosen: int | None) -> bool:
        """Whether an option is the right one, or says the same as it."""
        if chosen is None or self.answer is None:
            return False
        return folded(self.choices[chosen]) == folded(self.choices[self.answer])


def folded(choice: str) -> str:
    """An option without what sets two spellings of the same apart: case and white space."""
    return " ".join(choice.split()).casefold()
