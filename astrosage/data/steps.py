"""What is left after each step of a stage: documents and words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from astrosage.data.records import Record

STEPS = ("read", "licence", "clean", "deduplicate", "decontaminate", "sample")


@dataclass
class Steps:
    """Counts by step; words are parted by white space.

    Attributes:
        documents: After each step.
        words: After each step.
    """

    documents: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STEPS, 0))
    words: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STEPS, 0))

    def passed(self, step: str, words: int) -> None:
        """Count a record that is left after a step."""
        self.documents[step] += 1
        self.words[step] += words

    def add(self, other: Steps) -> None:
        """Take up what was counted elsewhere."""
        for step in STEPS:
            self.documents[step] += other.documents[step]
            self.words[step] += other.words[step]

    def to_list(self) -> list[dict[str, Any]]:
        """As the report has it, in order."""
        return [
            {"step": step, "documents": self.documents[step], "words": self.words[step]}
            for step in STEPS
        ]


def count_words(record: Record) -> int:
    """Words of a record's texts."""
    return sum(len(text.split()) for text in record.texts)
