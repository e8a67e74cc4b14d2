"""What walks through HTML and CNXML have in common: nested text, lists, rows of tables."""

from __future__ import annotations

from typing import Any

from astrosage.data.formats.flow import Flow, row
from astrosage.data.formats.mathml import local_name
from astrosage.data.tally import Tally


class Walk:
    """Goes through a tree of elements in the order of its text.

    Args:
        flow: Takes the text.
        tally: Counts what is dropped, by element.
    """

    def __init__(self, flow: Flow, tally: Tally) -> None:
        self._flow, self._tally = flow, tally
        self._lists: list[int] = []  # of each open list the last number, or -1 without numbers

    def element(self, element: Any) -> None:
        """Add an element with all that is in it, without what follows it."""
        raise NotImplementedError

    def _inside(self, element: Any) -> None:
        self._flow.text(element.text)
        for child in element:
            self.element(child)
            self._flow.text(child.tail)

    def _list(self, element: Any, *, numbered: bool) -> None:
        self._lists.append(0 if numbered else -1)
        self._flow.block()
        if len(self._lists) > 1:
            self._flow.margin("  ")
        self._inside(element)
        if len(self._lists) > 1:
            self._flow.unmargin()
        self._lists.pop()
        self._flow.block()

    def _item(self, element: Any) -> None:
        prefix = "- "
        if self._lists and self._lists[-1] >= 0:
            self._lists[-1] += 1
            prefix = f"{self._lists[-1]}. "
        self._flow.block(prefix, tight="list")
        self._inside(element)
        self._flow.block()

    def _row(self, element: Any, *cells: str) -> None:
        """A table's row; ``cells`` are the names of the elements that it consists of."""
        texts = []
        for child in element:
            if local_name(child) in cells:
                inner = Flow()
                type(self)(inner, self._tally).element(child)
                texts.append(inner.result())
        self._flow.block(tight="table")
        self._flow.text(row(texts))
        self._flow.block()
