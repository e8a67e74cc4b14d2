"""The tree of a document as text."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from astrosage.data.latex import layout
from astrosage.data.latex.citations import cite
from astrosage.data.latex.commands import (
    ACCENTS,
    COMMANDS,
    FLOATS,
    HEADINGS,
    LISTS,
    TABLES,
    Command,
)
from astrosage.data.latex.labels import Labels, reference
from astrosage.data.latex.layout import CELL, INDENT, LINE, PARAGRAPH, ROW
from astrosage.data.latex.parse import CITATIONS, symbols
from astrosage.data.words import words

_QUOTES = (("---", "—"), ("--", "–"), ("``", "“"), ("''", "”"), ("`", "‘"))
_OPTIONS = re.compile(r"^\[[^\]\n]*\]")
_REFERENCES = {
    "ref": "ref",
    "pageref": "ref",
    "subref": "ref",
    "nameref": "ref",
    "eqref": "eq",
    "autoref": "auto",
    "cref": "auto",
    "Cref": "auto",
}
_CAPTIONS = words("caption captionof subcaption tablecaption figcaption")
_NOTES = words("footnote footnotetext endnote")
_DOTLESS = {"ı": "i", "ȷ": "j"}


class Renderer:
    """Writes one document.

    Attributes:
        labels: The labels that were met.
        counts: What was dropped, by kind.
    """

    def __init__(self, works: Mapping[str, tuple[str, str]], labels: Labels) -> None:
        self.labels = labels
        self.counts: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self._works = works
        self._lists: list[int] = []
        self._floats: list[_Float] = []
        self._numbers: Counter[str] = Counter()
        self._heading = ""
        self._tables = 0
        self._own: dict[str, Callable[[Any], str]] = {
            **dict.fromkeys(HEADINGS, self._section),
            **dict.fromkeys(_REFERENCES, self._reference),
            **dict.fromkeys(_CAPTIONS, self._caption),
            **dict.fromkeys(_NOTES, self._note),
            **dict.fromkeys(ACCENTS, self._accent),
            **dict.fromkeys(CITATIONS, self._cite),
            "astrotitle": self._title,
            "item": self._item,
            "label": self._label,
            "\\": self._line_end,
            "tabularnewline": self._line_end,
            "newline": self._line_end,
            "abstract": lambda node: PARAGRAPH + "## Abstract" + PARAGRAPH,
            "enddata": lambda node: ROW if self._tables else "",
            "tablehead": lambda node: self._argument(node, 0) + ROW,
        }

    def render(self, nodes: Iterable[Any]) -> str:
        """Nodes as text with the marks of :mod:`~astrosage.data.latex.layout`."""
        parts: list[str] = []
        after_unknown = ""  # the kind of the last node, if it belongs to an unknown command
        for node in nodes:
            kind = type(node).__name__
            if kind == "LatexCharsNode":
                chars = node.chars
                if after_unknown == "LatexMacroNode":
                    chars = self._without_options(chars)
                    if not chars:
                        continue
                parts.append(_chars(chars))
            elif kind == "LatexGroupNode":
                if after_unknown == kind:
                    parts.append(" ")  # its next argument
                parts.append(self.render(node.nodelist))
            elif kind == "LatexMacroNode":
                parts.append(self._macro(node))
            elif kind == "LatexEnvironmentNode":
                parts.append(self._environment(node))
            elif kind == "LatexSpecialsNode":
                parts.append(self._special(node.specials_chars))
            elif kind == "LatexMathNode":  # a stray delimiter
                parts.append(self.render(node.nodelist))
            if kind == "LatexMacroNode":
                after_unknown = "" if self._known(node.macroname) else kind
            else:
                after_unknown = kind if after_unknown and kind == "LatexGroupNode" else ""
        return "".join(parts)

    def _without_options(self, chars: str) -> str:
        rest = _OPTIONS.sub("", chars)
        if rest != chars:
            self.counts["options"] += 1
        return rest

    def _special(self, chars: str) -> str:
        if chars == "&":
            return CELL if self._tables else "&"
        return " "

    # Commands

    def _known(self, name: str) -> bool:
        return name in self._own or name in COMMANDS or name in symbols()

    def _macro(self, node: Any) -> str:
        name = node.macroname
        if name in self._own:
            return self._own[name](node)
        command = COMMANDS.get(name)
        if command is not None:
            return self._command(node, command)
        if name in symbols():
            return symbols()[name]
        return self._unknown(node)

    def _command(self, node: Any, command: Command) -> str:
        if command.dropped:
            self.counts[command.dropped] += 1
            # What stands between two words must not join them.
            return "" if command.arguments else node.macro_post_space[:1]
        if command.text or not command.shown:
            return command.text
        shown = [self._argument(node, place) for place in command.shown]
        return " ".join(text for text in shown if text)

    def _unknown(self, node: Any) -> str:
        """A command of a package that is not there: its arguments follow and are read as text.

        One that is written with a capital is mostly a name (``\\Gaia``), which is kept.
        """
        name = node.macroname
        if len(name) == 1 and not name.isalnum():
            self.counts["layout"] += 1
            return ""
        self.unknown[name] += 1
        self.counts["unknownCommands"] += 1
        if name[0].isupper() and len(name) > 1:
            return f"{name}{node.macro_post_space}"
        return str(node.macro_post_space[:1])

    def _argument(self, node: Any, place: int) -> str:
        found = self._nodes(node, place)
        return self.render(found) if found else ""

    def _nodes(self, node: Any, place: int) -> list[Any]:
        arguments = node.nodeargd.argnlist if node.nodeargd is not None else []
        if place >= len(arguments) or arguments[place] is None:
            return []
        argument = arguments[place]
        return argument.nodelist if type(argument).__name__ == "LatexGroupNode" else [argument]

    def _last(self, node: Any) -> str:
        return self._argument(node, len(node.nodeargd.argnlist) - 1 if node.nodeargd else 0)

    def _verbatim(self, node: Any, place: int) -> str:
        return "".join(n.latex_verbatim() for n in self._nodes(node, place)).strip()

    def _title(self, node: Any) -> str:
        title = _flat(self._argument(node, 0))
        return f"{PARAGRAPH}# {title}{PARAGRAPH}" if title else ""

    def _section(self, node: Any) -> str:
        title = _flat(self._last(node))
        if not title:
            return PARAGRAPH
        self._heading = re.sub(f"{layout.NOTE}.*?{layout.NOTE_END}", "", title)
        return f"{PARAGRAPH}{'#' * HEADINGS[node.macroname]} {title}{PARAGRAPH}"

    def _accent(self, node: Any) -> str:
        base = self._argument(node, 0)
        if not base:
            return ""
        base = _DOTLESS.get(base[0], base[0]) + base[1:]
        return unicodedata.normalize("NFC", base[0] + ACCENTS[node.macroname] + base[1:])

    def _line_end(self, node: Any) -> str:
        return ROW if self._tables else LINE

    def _note(self, node: Any) -> str:
        return layout.note(self._last(node))

    def _reference(self, node: Any) -> str:
        keys = self._verbatim(node, 1)
        self.counts["references"] += 1
        return reference(_REFERENCES[node.macroname], keys)

    def _cite(self, node: Any) -> str:
        notes = [_flat(self._argument(node, place)) for place in (1, 2)]
        return cite(node.macroname, self._verbatim(node, 3), notes, self._works, self.counts)

    # Floats and labels

    def _label(self, node: Any) -> str:
        key = self._verbatim(node, 0)
        self.counts["labels"] += 1
        if self._floats:
            self._floats[-1].labels.append(key)
            if self._floats[-1].number:  # the caption came first
                self.labels.targets[key] = (self._floats[-1].kind, self._floats[-1].number)
        elif self._heading:
            self.labels.targets.setdefault(key, ("Section", self._heading))
        return ""

    def _caption(self, node: Any) -> str:
        text = self._last(node)
        current = self._floats[-1] if self._floats else _Float("Figure")
        if node.macroname in ("subcaption", "captionof") or not text.strip():
            return text
        if not current.number:
            self._numbers[current.kind] += 1
            current.number = str(self._numbers[current.kind])
        for key in current.labels:
            self.labels.targets[key] = (current.kind, current.number)
        short = _flat(self._argument(node, len(node.nodeargd.argnlist) - 2))
        if short and short not in _flat(text):
            text = f"{short.rstrip('.')}. {text.lstrip()}"
        words = f"{PARAGRAPH}{current.kind} {current.number}: {text}{PARAGRAPH}"
        if self._tables and self._floats:  # among a table's rows
            current.captions.append(words)
            return ROW
        return words

    def _float(self, node: Any) -> str:
        name = node.environmentname
        kind = "Figure" if "figure" in name.lower() else "Table"
        self._floats.append(_Float(kind))
        inside = self._table(node) if name in TABLES else self.render(node.nodelist)
        captions = "".join(self._floats.pop().captions)
        return PARAGRAPH + captions + inside + PARAGRAPH

    # Environments

    def _environment(self, node: Any) -> str:
        name = node.environmentname
        if name in FLOATS:
            return self._float(node)
        if name in TABLES:
            return self._table(node)
        if name in LISTS:
            return self._list(node, LISTS[name])
        if name == "abstract":
            return f"{PARAGRAPH}## Abstract{PARAGRAPH}{self.render(node.nodelist)}{PARAGRAPH}"
        if name in ("acknowledgments", "acknowledgements"):
            return f"{PARAGRAPH}## Acknowledgments{PARAGRAPH}{self.render(node.nodelist)}"
        inside = self._without_options(self.render(node.nodelist).lstrip())
        return PARAGRAPH + inside + PARAGRAPH

    def _table(self, node: Any) -> str:
        if self._tables:  # in a cell, to break its lines
            self._tables -= 1
            inside = self.render(node.nodelist).replace(LINE, " ").replace("&", " ")
            self._tables += 1
            return inside
        self._tables += 1
        inside = self.render(node.nodelist)
        self._tables -= 1
        self.counts["tables"] += 1
        return PARAGRAPH + layout.table(inside) + PARAGRAPH

    def _list(self, node: Any, mark: str) -> str:
        self._lists.append(0 if mark == "1" else -1)
        tables, self._tables = self._tables, 0
        inside = self.render(node.nodelist)
        self._tables = tables
        self._lists.pop()
        around = LINE if self._lists else PARAGRAPH
        return around + inside.strip() + around

    def _item(self, node: Any) -> str:
        label = _flat(self._argument(node, 0))
        indent = INDENT * 2 * max(0, len(self._lists) - 1)
        mark = "- "
        if self._lists and self._lists[-1] >= 0:
            self._lists[-1] += 1
            mark = f"{self._lists[-1]}. "
        if label:
            mark += label + (" " if label[-1] in ":.)" else ": ")
        return LINE + indent + mark


class _Float:
    """A figure or table that is being written."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.number = ""
        self.labels: list[str] = []
        self.captions: list[str] = []


def _chars(text: str) -> str:
    for written, meant in _QUOTES:
        if written in text:
            text = text.replace(written, meant)
    return text


def _flat(text: str) -> str:
    """On one line."""
    return " ".join(text.replace(LINE, " ").replace(ROW, " ").split())
