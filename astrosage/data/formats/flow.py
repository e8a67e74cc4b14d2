"""Running text put together from marked-up pieces: paragraphs, headings, lists, tables."""

from __future__ import annotations

BREAK = "\v"
"""A line break inside a paragraph."""


class Flow:
    """Collects inline pieces into blocks; white space collapses as on a web page."""

    def __init__(self) -> None:
        self._blocks: list[tuple[str, str]] = []
        self._parts: list[str] = []
        self._prefix = ""
        self._margins: list[str] = []
        self._tight = ""

    def text(self, piece: str | None) -> None:
        """Add to the current block."""
        if piece:
            self._parts.append(piece)

    def block(self, prefix: str = "", *, tight: str = "") -> None:
        """End the current block and begin one.

        Args:
            prefix: What stands before its first line, such as ``## `` or ``- ``.
            tight: What it is one of, such as `list`: no empty line parts it from the one before.
        """
        self._end()
        self._prefix, self._tight = prefix, tight

    def raw(self, text: str) -> None:
        """A block whose white space is kept."""
        self._end()
        lines = text.strip("\n").split("\n")
        self._put("\n".join(self._margin + line.rstrip() for line in lines), "")

    def margin(self, text: str) -> None:
        """Begin every line with ``text`` from here on; to be ended by :meth:`unmargin`."""
        self._end()
        self._margins.append(text)

    def unmargin(self) -> None:
        """Take back the last margin."""
        self._end()
        self._margins.pop()

    def result(self) -> str:
        """Everything so far, blocks parted by empty lines."""
        self._end()
        parts: list[str] = []
        before = ""
        for text, tight in self._blocks:
            if parts:
                parts.append("\n" if tight and tight == before else "\n\n")
            parts.append(text)
            before = tight
        return "".join(parts)

    @property
    def _margin(self) -> str:
        return "".join(self._margins)

    def _end(self) -> None:
        lines = ["".join(self._parts)] if self._parts else []
        lines = [" ".join(line.split()) for part in lines for line in part.split(BREAK)]
        body = [line for line in lines if line]
        if body:
            margin = self._margin
            hanging = " " * len(self._prefix) if self._prefix[-2:] in ("- ", ". ") else ""
            first = margin + self._prefix + body[0]
            rest = [margin + hanging + line for line in body[1:]]
            self._put("\n".join([first, *rest]), self._tight)
            self._prefix, self._tight = "", ""
        self._parts = []

    def _put(self, text: str, tight: str) -> None:
        if text.strip():
            self._blocks.append((text, tight))


def row(cells: list[str]) -> str:
    """A table's row as a line."""
    cells = [" ".join(cell.split()) for cell in cells]
    return " | ".join(cells).strip() if any(cells) else ""
