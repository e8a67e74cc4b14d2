"""Marks that the renderer leaves, and the text that becomes of them."""

from __future__ import annotations

import re

from astrosage.data.latex.fence import BLOCK

LINE = "\v"
"""A line end that stays."""
INDENT = "\x0e"
"""A space at the beginning of a line that stays."""
CELL, ROW = "\x01", "\x02"
"""Ends of a table's cells and rows."""
NOTE, NOTE_END = "\x03", "\x04"
"""Around a footnote's text, which follows its paragraph."""
GONE = "\x05"
"""Where a citation was dropped: the space before it goes too."""
PARAGRAPH = "\n\n"

_PARAGRAPHS = re.compile(r"\n[ \t]*\n\s*")
_EMPTY_BRACKETS = re.compile(
    rf"[\s~]*[(\[][\s;,]*(?:e\.g\.|i\.e\.|see|cf\.|also)?[\s;,]*{GONE}[\s;,{GONE}]*[)\]]"
)
_GONE = re.compile(rf"\s*{GONE}(?:[,;]?\s*{GONE})*")
_QUOTED = re.compile('“([^“”"]*)"')  # ``so" is written as often as ``so''
_NOTE = re.compile(f"{NOTE}([^{NOTE}{NOTE_END}]*){NOTE_END}")


def lay_out(text: str) -> str:
    """Rendered text as paragraphs parted by empty lines, white space collapsed."""
    text = _GONE.sub("", _EMPTY_BRACKETS.sub("", text))
    text = text.replace(BLOCK, LINE)
    paragraphs: list[str] = []
    for paragraph in _PARAGRAPHS.split(text):
        notes: list[str] = []
        while _NOTE.search(paragraph):  # the innermost first
            paragraph = _NOTE.sub(lambda m, notes=notes: _keep(notes, m.group(1)), paragraph)
        paragraphs.append(_lines(paragraph))
        paragraphs += [f"(Note: {_one_line(note)})" for note in notes if note.strip()]
    return "\n\n".join(p for p in paragraphs if p)


def _keep(notes: list[str], note: str) -> str:
    notes.append(note)
    return ""


def _lines(paragraph: str) -> str:
    paragraph = _QUOTED.sub("“\\1”", paragraph)
    lines = (" ".join(line.split()) for line in paragraph.split(LINE))
    return "\n".join(line.replace(INDENT, " ").rstrip() for line in lines if line.strip(INDENT))


def _one_line(text: str) -> str:
    return " ".join(text.replace(LINE, " ").replace(INDENT, " ").split())


def note(text: str) -> str:
    """A footnote; paragraphs in it are run together."""
    return NOTE + _PARAGRAPHS.sub(" ", text) + NOTE_END


def table(text: str) -> str:
    """A table's rows, as rendered with :data:`CELL` and :data:`ROW`, a line each."""
    rows = []
    for line in text.split(ROW):
        cells = [_one_line(cell) for cell in line.split(CELL)]
        while cells and not cells[-1]:
            cells.pop()
        if any(cells):
            rows.append(" | ".join(cells).strip())
    return LINE.join(rows)
