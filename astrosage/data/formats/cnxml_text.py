"""A CNXML module as text: http://cnx.rice.edu/cnxml, version 0.8."""

from __future__ import annotations

import re
from typing import Any

from astrosage.data.formats.flow import BREAK, Flow
from astrosage.data.formats.mathml import local_name, to_latex
from astrosage.data.formats.walk import Walk
from astrosage.data.tally import Tally
from astrosage.data.words import words

_DROPPED = words("metadata media iframe image object audio video label")
_BLOCKS = words(
    """para note example exercise problem solution section figure equation quote definition meaning
    rule statement proof seealso caption glossary content document"""
)
_TITLED = words("document section note example exercise problem solution glossary")
_DEEPEST = 6
# What is left of a reference to a figure, whose number only the printed book has.
_EMPTY = re.compile(r"\s*\((?:see\s*)?\)")


def module_text(root: Any, tally: Tally) -> str:
    """A module's title and content; its glossary as `term: meaning`.

    Args:
        root: The ``document`` element.
        tally: Counts what is dropped, by element.
    """
    flow = Flow()
    title = next((e for e in root if local_name(e) == "title"), None)
    if title is not None:
        flow.block("# ")
        flow.text("".join(title.itertext()))
        flow.block()
    walk = _Walk(flow, tally)
    for child in root:
        if local_name(child) != "title":
            walk.element(child)
    for note in walk.notes:
        flow.block()
        flow.text(f"(Note: {' '.join(note.split())})")
    return _EMPTY.sub("", flow.result())


class _Walk(Walk):
    def __init__(self, flow: Flow, tally: Tally) -> None:
        super().__init__(flow, tally)
        self._depth = 1
        self.notes: list[str] = []

    def element(self, element: Any) -> None:
        """Add an element with all that is in it, without what follows it."""
        name, flow = local_name(element), self._flow
        if not name:
            return
        if name in _DROPPED:
            self._tally.add(f"cnxml:{name}")
        elif name == "math":
            flow.text(f"${to_latex(element)}$")
        elif name == "title":
            self._title(element)
        elif name == "newline":
            flow.text(BREAK)
        elif name == "footnote":
            inner = Flow()
            _Walk(inner, self._tally)._inside(element)
            self.notes.append(inner.result())
        elif name in ("sup", "sub"):
            text = "".join(element.itertext()).strip()
            flow.text(("^" if name == "sup" else "_") if text else "")
            self._inside(element)
        elif name == "list":
            self._list(element, numbered=element.get("list-type") == "enumerated")
        elif name == "item":
            self._item(element)
        elif name == "term" and local_name(element.getparent()) == "definition":
            self._inside(element)
            flow.text(": ")
        elif name == "meaning":
            self._inside(element)
        elif name == "row":
            self._row(element, "entry")
        elif name in _BLOCKS or name in ("table", "code", "preformat"):
            flow.block()
            self._depth += name in ("section", "note", "example", "exercise")
            self._inside(element)
            self._depth -= name in ("section", "note", "example", "exercise")
            flow.block()
        else:
            self._inside(element)

    def _title(self, element: Any) -> None:
        """A heading; of a paragraph or figure, its first words."""
        if local_name(element.getparent()) in _TITLED:
            self._flow.block("#" * min(self._depth, _DEEPEST) + " ")
            self._inside(element)
            self._flow.block()
        elif title := " ".join("".join(element.itertext()).split()):
            self._flow.text(title + (" " if title[-1] in ".:?!" else ". "))
