"""What reading a source left out or changed: counted by kind, with a few examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_EXAMPLES = 5
_EXAMPLE_LENGTH = 200


@dataclass
class Tally:
    """Counts by kind.

    Attributes:
        counts: How often each kind of thing happened; names are camelCase, as in the report.
        examples: The first few cases of a kind, in words.
    """

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, times: int = 1, example: str = "") -> None:
        """Count ``times`` cases; ``example`` says which."""
        if times <= 0:
            return
        self.counts[kind] += times
        if example:
            known = self.examples.setdefault(kind, [])
            if len(known) < _EXAMPLES:
                known.append(example[:_EXAMPLE_LENGTH])

    def copy(self) -> Tally:
        """What was counted so far."""
        return Tally(self.counts.copy(), {kind: list(v) for kind, v in self.examples.items()})

    def merge(self, other: Tally) -> None:
        """Count what another has counted, after what this has."""
        self.counts.update(other.counts)
        for kind, examples in other.examples.items():
            known = self.examples.setdefault(kind, [])
            known += examples[: _EXAMPLES - len(known)]

    def update(self, counts: Mapping[str, int], where: str = "") -> None:
        """Count all of ``counts``, found in ``where``."""
        for kind, times in counts.items():
            self.add(kind, times, where)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the report; empty where nothing was left out or changed."""
        if not self.counts:
            return {}
        return {"counts": dict(sorted(self.counts.items())), "examples": self.examples}

    def explain(self, most: int = 6) -> str:
        """In words, the most frequent kinds."""
        return ", ".join(f"{kind} {times}" for kind, times in self.counts.most_common(most))
