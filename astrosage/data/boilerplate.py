"""Lines that many documents of a source share: headers, footers, notices of rights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice

from astrosage.spec.clean import Boilerplate

_SHORTEST, _LONGEST = 3, 60  # words
_MOST_LINES = 2_000_000  # counted at a time


class BoilerplateRemover:
    """Removes the lines that it has seen often.

    Args:
        lines: What to remove.

    Attributes:
        lines: The same.
        removed: How often each line was.
    """

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self.lines = frozenset(lines)
        self.removed: Counter[str] = Counter()

    @classmethod
    def learnt(cls, texts: Iterable[str], options: Boilerplate) -> BoilerplateRemover:
        """From the first texts of a source; headings and lines under three words never count."""
        documents = 0
        counts: Counter[str] = Counter()
        for text in islice(texts, options.sample):
            documents += 1
            counts.update({line for raw in text.split("\n") if (line := _candidate(raw))})
            if len(counts) > _MOST_LINES:
                counts = Counter({line: n for line, n in counts.items() if n > 1})
        least = max(options.min_documents, options.min_share * documents)
        return cls(line for line, n in counts.items() if n >= least)

    def apply(self, text: str) -> tuple[str, int]:
        """The text without such lines, and how many went."""
        if not self.lines:
            return text, 0
        lines = text.split("\n")
        kept = []
        for raw in lines:
            line = _candidate(raw)
            if line in self.lines:
                self.removed[line] += 1
            else:
                kept.append(raw)
        if len(kept) == len(lines):
            return text, 0
        return "\n".join(kept).strip("\n"), len(lines) - len(kept)


def _candidate(line: str) -> str:
    """The line as it is compared; empty if it can be no boilerplate."""
    words = line.split()
    if not _SHORTEST <= len(words) <= _LONGEST or line.lstrip().startswith("#"):
        return ""
    return " ".join(words) if any(map(str.isalpha, line)) else ""
