"""Wikitext to text, by mwparserfromhell: templates need a wiki to expand, so most are dropped."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Set
from typing import Any

from astrosage.data.compressed import needed
from astrosage.data.formats.flow import row
from astrosage.data.tally import Tally
from astrosage.data.words import words

_DROPPED_TAGS = words(
    """ref references gallery score timeline imagemap graph templatestyles style script
    syntaxhighlight indicator maplink mapframe hiero"""
)
_DROPPED_SECTIONS = frozenset(
    {
        "references",
        "external links",
        "see also",
        "further reading",
        "notes",
        "bibliography",
        "sources",
        "citations",
        "notes and references",
        "footnotes",
        "gallery",
    }
)
_BOXES = re.compile(r"infobox|navbox|sidebar|metadata|ambox|toc|mbox", re.IGNORECASE)
_STYLE = re.compile(r"'{2,5}")
_MAGIC = re.compile(r"__[A-Z]+__")
_SPACE_BEFORE = re.compile(r"[ \t]+([,.;:)])")
_EMPTY = re.compile(r"\s*\(\s*[;,]?\s*\)|\s*[;,]\s*(?=\))")
_HEADING = re.compile(r"^(#+) (.*)$")


def _first(p: list[str]) -> str:
    return p[0] if p else ""


def _last(p: list[str]) -> str:
    return p[-1] if p else ""


# Templates that stand for words; the others are boxes, notes and links.
_TEMPLATES: dict[str, Callable[[list[str]], str]] = {
    "convert": lambda p: " ".join(p[:2]),
    "cvt": lambda p: " ".join(p[:2]),
    "val": _first,
    "nowrap": _first,
    "nobr": _first,
    "math": lambda p: f"${_first(p)}$",
    "mvar": lambda p: f"${_first(p)}$",
    "lang": _last,
    "transl": _last,
    "transliteration": _last,
    "frac": "/".join,
    "sfrac": "/".join,
    "sup": lambda p: f"^{_first(p)}",
    "sub": lambda p: f"_{_first(p)}",
    "e": lambda p: f"×10^{_first(p)}",
    "abbr": _first,
    "small": _first,
    "em": _first,
    "as of": lambda p: f"As of {_first(p)}",
    "nbsp": lambda p: " ",
    "spaces": lambda p: " ",
    "ndash": lambda p: "–",
    "snd": lambda p: " – ",
    "spnd": lambda p: " – ",
    "mdash": lambda p: "—",
    "ly": lambda p: f"{_first(p)} light-years",
    "solar mass": lambda p: f"{_first(p)} M☉".strip(),
    "blockquote": _first,
    "quote": _first,
    "cquote": _first,
}


def to_text(source: str, special: Set[str], tally: Tally) -> str:
    """A page's wikitext as text: headings and lists in Markdown, tables a line a row.

    Args:
        source: The wikitext.
        special: Names of the namespaces of files and categories, in lower case.
        tally: Counts what is dropped, by kind.
    """
    parser = needed("mwparserfromhell", "Wikipedia")
    code = parser.parse(source, skip_style_tags=True)
    text = _Writer(special, tally).write(code.nodes)
    return _tidy(text, tally)


class _Writer:
    def __init__(self, special: Set[str], tally: Tally) -> None:
        self._special, self._tally = special, tally

    def write(self, nodes: Iterable[Any]) -> str:
        return "".join(self._node(node) for node in nodes)

    def _node(self, node: Any) -> str:
        kind = type(node).__name__
        if kind == "Text":
            return str(node.value)
        if kind == "Heading":
            title = self.write(node.title.nodes).strip()
            return f"\n\n{'#' * node.level} {title}\n\n"
        if kind == "Wikilink":
            return self._link(node)
        if kind == "ExternalLink":
            if node.title is not None:
                return self.write(node.title.nodes)
            return "" if node.brackets else str(node.url)
        if kind == "HTMLEntity":
            return str(node.normalize())
        if kind == "Template":
            return self._template(node)
        if kind == "Tag":
            return self._tag(node)
        self._tally.add(f"wiki{kind}")
        return ""

    def _link(self, node: Any) -> str:
        title = str(node.title).strip()
        namespace = title.partition(":")[0].strip().lower()
        if namespace in self._special and not title.startswith(":"):
            self._tally.add("wikiFilesAndCategories")
            return ""
        return self.write(node.text.nodes) if node.text is not None else title.lstrip(":")

    def _template(self, node: Any) -> str:
        name = str(node.name).strip().lower().replace("_", " ")
        make = _TEMPLATES.get(name)
        if make is None:
            self._tally.add("wikiTemplates")
            return ""
        return make([self.write(p.value.nodes).strip() for p in node.params if not p.showkey])

    def _tag(self, node: Any) -> str:
        name = str(node.tag).strip().lower()
        inside = node.contents.nodes if node.contents is not None else []
        if name in _DROPPED_TAGS:
            self._tally.add(f"wikiTag:{name}")
            return ""
        if name in ("math", "chem", "ce"):
            return f"${' '.join(str(node.contents).split())}$"
        if name == "table":
            return self._table(node)
        if name == "br":
            return "\n"
        if name in ("li", "dt", "dd"):
            mark = str(node.wiki_markup or "")
            bullet = "- " if mark in ("*", "") and name == "li" else "1. " if name == "li" else ""
            return ("" if not mark else bullet) + self.write(inside)
        text = self.write(inside)
        if name in ("sup", "sub") and text.strip():
            return ("^" if name == "sup" else "_") + text.strip()
        return f"\n\n{text}\n\n" if name in ("p", "div", "blockquote", "pre") else text

    def _table(self, node: Any) -> str:
        if _BOXES.search(" ".join(str(a) for a in node.attributes)):
            self._tally.add("wikiBoxes")
            return ""
        rows: list[list[str]] = [[]]
        for tag in node.contents.filter_tags(recursive=False):
            name = str(tag.tag).strip()
            inside = tag.contents.nodes if tag.contents is not None else []
            if name == "tr":
                cells = tag.contents.filter_tags(recursive=False)
                rows.append([self.write(c.contents.nodes) for c in cells if c.contents])
            elif name in ("th", "td"):  # before the first mark of a row
                rows[0].append(self.write(inside))
        lines = [row(cells) for cells in rows]
        self._tally.add("wikiTables")
        return "\n\n" + "\n".join(line for line in lines if line) + "\n\n"


def _tidy(text: str, tally: Tally) -> str:
    """Paragraphs parted by empty lines; sections of references and links gone, and empty ones."""
    text = _MAGIC.sub("", _STYLE.sub("", text))
    lines = [" ".join(line.split()) for line in text.split("\n")]
    kept: list[str] = []
    skipping = 0
    for line in lines:
        heading = _HEADING.match(line)
        if heading:
            level = len(heading.group(1))
            if skipping and level > skipping:
                continue
            skipping = level if heading.group(2).strip().lower() in _DROPPED_SECTIONS else 0
            if skipping:
                tally.add("wikiSections")
                continue
            while kept and (not kept[-1] or _is_empty_section(kept[-1], level)):
                kept.pop()
            kept += ["", line, ""]
        elif not skipping:
            line = _SPACE_BEFORE.sub(r"\1", _EMPTY.sub("", line))
            if line.strip("-*#: 1.") or not line:
                kept.append(line)
    while kept and (not kept[-1] or kept[-1].startswith("#")):
        kept.pop()
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()


def _is_empty_section(line: str, level: int) -> bool:
    heading = _HEADING.match(line)
    return heading is not None and len(heading.group(1)) >= level
