"""What labels and citation keys stand for: numbers, titles, authors and years."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from astrosage.data.latex.fence import REFERENCE, REFERENCE_END

_BIBLIOGRAPHY = re.compile(
    r"\\begin\s*\{(thebibliography|references)\}.*?(?:\\end\s*\{\1\}|\Z)", re.DOTALL
)
_ITEM = re.compile(r"\\bibitem\s*")
_AUTHOR_YEAR = re.compile(
    r"\\citeauthoryear\s*(?:\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}\s*)?"
    r"\{((?:[^{}]|\{[^{}]*\})*)\}\s*\{(\d{4}[a-z]?)\}"
)
_LABEL = re.compile(r"^(.*?)\s*\(\s*(\d{4}[a-z]?)\s*\)", re.DOTALL)
_COMMANDS = re.compile(r"\\(?:[a-zA-Z@]+\*?\s*|[ ,])")
_REFERENCE = re.compile(f"{REFERENCE}(\\w+):([^{REFERENCE_END}]*){REFERENCE_END}")
UNKNOWN = "[reference]"
"""What stands for a label that is not in the document."""


@dataclass
class Labels:
    """The labels of a document.

    Attributes:
        targets: ``(what, name)`` by label, such as ``("Figure", "3")``.
    """

    targets: dict[str, tuple[str, str]] = field(default_factory=dict)

    def resolve(self, text: str, counts: Counter[str]) -> str:
        """The text with each reference as words."""

        def words(match: re.Match[str]) -> str:
            how, keys = match.groups()
            found = [self._words(how, key.strip(), counts) for key in keys.split(",")]
            return ", ".join(dict.fromkeys(found))

        return _REFERENCE.sub(words, text)

    def _words(self, how: str, key: str, counts: Counter[str]) -> str:
        if key not in self.targets:
            counts["referencesUnresolved"] += 1
            return UNKNOWN
        what, name = self.targets[key]
        shown = f"“{name}”" if what == "Section" else name
        if how == "auto":
            return f"{what} {shown}"
        return f"({shown})" if how == "eq" else shown


def reference(how: str, keys: str) -> str:
    """A reference, to be resolved at the end; ``how`` is ``ref``, ``eq`` or ``auto``."""
    return f"{REFERENCE}{how}:{keys}{REFERENCE_END}"


def take_bibliography(text: str, counts: Counter[str]) -> tuple[str, dict[str, tuple[str, str]]]:
    """Take the list of references out of a text.

    Args:
        text: Expanded LaTeX, or a ``.bbl`` file.
        counts: Where its items are counted.

    Returns:
        The rest, and ``(authors, year)`` by citation key where the items say so.
    """
    works: dict[str, tuple[str, str]] = {}

    def take(match: re.Match[str]) -> str:
        counts["bibliographyItems"] += len(_ITEM.findall(match.group()))
        works.update(cited_works(match.group()))
        return ""

    return _BIBLIOGRAPHY.sub(take, text), works


def cited_works(bibliography: str) -> dict[str, tuple[str, str]]:
    """``(authors, year)`` by citation key, as natbib's items have them."""
    from astrosage.data.latex.scan import bracket_end, group_end, skip_space

    works = {}
    for item in _ITEM.finditer(bibliography):
        pos = item.end()
        if not bibliography.startswith("[", pos):
            continue
        end = bracket_end(bibliography, pos)
        start = skip_space(bibliography, end) if end >= 0 else -1
        if start < 0 or not bibliography.startswith("{", start):
            continue
        key_end = group_end(bibliography, start)
        work = _work(bibliography[pos + 1 : end - 1])
        if work is not None and key_end >= 0:
            works[bibliography[start + 1 : key_end - 1].strip()] = work
    return works


def _work(label: str) -> tuple[str, str] | None:
    label = re.sub(r"%[^\n]*\n\s*", "", label)
    named = _AUTHOR_YEAR.search(label)
    if named:
        return _plain(named.group(1)), named.group(2)
    found = _LABEL.match(_plain(label))
    return (found.group(1).strip(), found.group(2)) if found and found.group(1).strip() else None


def _plain(text: str) -> str:
    text = text.replace("\\&", "&").replace("~", " ")
    text = _COMMANDS.sub(" ", text).replace("{", "").replace("}", "")
    return " ".join(text.split()).replace(" ,", ",")
