"""What is known while a document's macros are expanded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from astrosage.data.latex.frames import Frames
from astrosage.data.latex.macros import Macro


@dataclass
class State:
    """The state of TeX's mouth, as far as it matters here.

    Attributes:
        frames: What is read from.
        macros: The author's macros by name.
        environments: The author's environments: what begins and what ends them.
        theorems: Titles of theorem-like environments.
        switches: Conditionals of ``\\newif``, and how they stand.
        open_conditionals: How many branches are being read.
        counts: What was left out, by kind.
        missing: Inputs that are not there.
        notes: What was left out, in words, as ``(kind, words)``.
    """

    frames: Frames
    macros: dict[str, Macro] = field(default_factory=dict)
    environments: dict[str, tuple[Macro, str]] = field(default_factory=dict)
    theorems: dict[str, str] = field(default_factory=dict)
    switches: dict[str, bool] = field(default_factory=dict)
    open_conditionals: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)

    def note(self, kind: str, words: str) -> None:
        """Count something that was left out, and keep which."""
        self.counts[kind] += 1
        self.notes.append((kind, words))
