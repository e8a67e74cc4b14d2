"""Citations: authors and year where the bibliography tells them, else left out or named so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from astrosage.data.latex.layout import GONE
from astrosage.data.words import words

# In these a citation is a part of the sentence, so that something must stand there.
_TEXTUAL = words(
    """citet Citet citealt Citealt citealp Citealp citeauthor Citeauthor textcite citeN citen
    citefullauthor citename citenum onlinecite"""
)
_BARE = words("citealt Citealt citealp Citealp")
UNKNOWN = "[citation]"
"""What stands for a work of which the document says nothing."""


def cite(
    command: str,
    keys: str,
    notes: Sequence[str],
    works: Mapping[str, tuple[str, str]],
    counts: Counter[str],
) -> str:
    """A citation in words.

    Args:
        command: As natbib and biblatex name them; ``cite`` reads as ``citet`` where works have
            authors and years, else it is a number, which is dropped.
        keys: Citation keys, parted by commas.
        notes: What stands before and after; of one alone, after.
        works: Authors and year by key.
        counts: Where dropped ones are counted.

    Returns:
        The words; a mark where nothing is left, so that the space before it goes too.
    """
    names = [key.strip() for key in keys.split(",") if key.strip()]
    known = [works[key] for key in names if key in works]
    counts["citations"] += len(names)
    if len(names) > len(known):
        counts["citationsDropped"] += len(names) - len(known)
    before, after = (notes[0], notes[1]) if notes[1] else ("", notes[0])
    textual = command in _TEXTUAL or (command == "cite" and bool(works))
    if not known:
        return UNKNOWN if textual else GONE
    if command in ("citeauthor", "Citeauthor", "citefullauthor", "citename"):
        return "; ".join(authors for authors, _ in known)
    if command in ("citeyear", "citeyearpar"):
        years = ", ".join(year for _, year in known)
        return f"({years})" if command == "citeyearpar" else years
    if textual and command not in _BARE:
        tail = f", {after}" if after else ""
        words = ", ".join(f"{authors} ({year}{tail})" for authors, year in known)
        return f"{before} {words}".strip()
    words = "; ".join(f"{authors} {year}" for authors, year in known)
    words = f"{before} {words}".strip() + (f", {after}" if after else "")
    return words if command in _BARE else f"({words})"
