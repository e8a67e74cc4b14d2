"""What cleaning found: counts, and a few records before and after."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

_SAMPLES, _SAMPLES_EACH = 16, 3  # shown in all, and for one reason

Sample = dict[str, str]


@dataclass
class Findings:
    """Adds up over parts of a corpus, in their order, to what the whole at once would have given.

    Attributes:
        asked: Whether any cleaning was asked for; no samples are kept otherwise.
        changed: By rule, how many records it changed.
        amounts: By kind, how many lines, words, … went.
        dropped: By reason, how many records were refused.
        languages: Records by language.
        lines: How often each line of boilerplate went.
        samples: ``(kind, sample)``, the first few of each kind.
    """

    asked: bool = False
    changed: Counter[str] = field(default_factory=Counter)
    amounts: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    lines: Counter[str] = field(default_factory=Counter)
    samples: list[tuple[str, Sample]] = field(default_factory=list)

    def add(self, later: Findings) -> None:
        """Take up what was found in the part that comes next."""
        self.asked |= later.asked
        for name in ("changed", "amounts", "dropped", "languages", "lines"):
            getattr(self, name).update(getattr(later, name))
        for kind, sample in later.samples:
            if self.has_room(kind):
                self.add_sample(kind, sample)

    def has_room(self, kind: str) -> bool:
        """Whether one more sample of a kind is wanted."""
        return self.asked and sum(k == kind for k, _ in self.samples) < _SAMPLES_EACH

    def add_sample(self, kind: str, sample: Sample) -> None:
        """Keep a sample."""
        self.samples.append((kind, sample))

    def to_dict(self) -> dict[str, Any]:
        """As the report has it; empty where nothing was asked for."""
        if not self.asked:
            return {}
        return {
            "changed": dict(sorted((+self.changed).items())),
            "amounts": dict(sorted((+self.amounts).items())),
            "dropped": dict(sorted(self.dropped.items())),
            "languages": dict(self.languages.most_common()),
            "boilerplate": [list(item) for item in self.lines.most_common(10)],
            "samples": [sample for _, sample in self.samples[:_SAMPLES]],
        }
