"""HTML: the page's main text, without scripts, navigation and what is hidden."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from astrosage.data.compressed import needed
from astrosage.data.formats.base import File, Raw, Reading
from astrosage.data.formats.flow import BREAK, Flow
from astrosage.data.formats.mathml import local_name, to_latex
from astrosage.data.formats.walk import Walk
from astrosage.data.reading import decoded, empty, read_bytes
from astrosage.data.records import Record
from astrosage.data.tally import Tally
from astrosage.data.words import words
from astrosage.errors import DataError

_CHARSET = re.compile(rb"""<meta[^>]+charset\s*=\s*["']?([-\w]+)""", re.IGNORECASE)
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_DROPPED = words(
    """script style noscript template svg canvas nav aside footer form button select input textarea
    iframe object embed video audio picture img head dialog menu map"""
)
_ROLES = words("navigation banner contentinfo complementary search menu dialog")
_BLOCKS = words(
    """p div section article main header figure figcaption address details summary dl dt dd body
    html center fieldset hgroup caption"""
)
_HEADINGS = {f"h{n}": "#" * n + " " for n in range(1, 7)}
_SCRIPTS = {"sup": "^", "sub": "_"}


def read(files: list[File], reading: Reading) -> Iterator[Raw]:
    """See :class:`~astrosage.data.formats.base.Reader`."""
    for file in reading.each(files):
        try:
            page = read_bytes(file, reading.limits)
        except DataError as error:
            yield Raw(partial(_fail, error), 0)  # told when its turn has come
        else:
            yield Raw(partial(_read_page, page, str(file)), len(page))


def _fail(error: DataError, tally: Tally) -> Record:
    raise error


def _read_page(page: bytes, file: str, tally: Tally) -> Record:
    text = html_to_text(page, file, tally)
    if not text:
        raise empty(file, len(page))
    return Record(file.rsplit("/", 1)[-1], file, 1, text=text)


def html_to_text(raw: bytes, where: str, tally: Tally) -> str:
    """A page as text: headings and lists in Markdown, tables a line a row, mathematics in LaTeX.

    What stands in ``main``, else in the page's only ``article``, else in its body, is taken.

    Args:
        raw: The page.
        where: Its name, for messages.
        tally: Counts what is dropped, by element.

    Returns:
        The text; empty if there is none.
    """
    etree = needed("lxml.etree", f"{where}: HTML")
    # Known to the parser as UTF-8, whatever the page says of itself.
    parser = etree.HTMLParser(
        encoding="utf-8", remove_comments=True, remove_pis=True, no_network=True
    )
    text = _decoded(raw, where, tally)
    try:
        page = etree.fromstring(text.encode("utf-8", errors="ignore"), parser=parser)
    except etree.XMLSyntaxError:
        return ""
    if page is None:
        return ""
    flow = Flow()
    _Walk(flow, tally).element(_main(page))
    return flow.result()


def _decoded(raw: bytes, where: str, tally: Tally) -> str:
    named = _CHARSET.search(raw[:4096])
    if named:
        try:
            return raw.decode(named.group(1).decode())
        except (UnicodeDecodeError, LookupError):
            pass  # the page is wrong about itself
    return decoded(raw, where, tally)


def _main(page: Any) -> Any:
    for path in (".//main", ".//*[@role='main']", ".//article"):
        found = page.findall(path)
        if len(found) == 1:
            return found[0]
    body = page.find(".//body")
    return page if body is None else body


class _Walk(Walk):
    def element(self, element: Any) -> None:
        """Add an element with all that is in it, without what follows it."""
        name = local_name(element)
        if not name or self._dropped(element, name):
            return
        if name == "math":
            self._flow.text(f"${to_latex(element)}$")
        elif name == "br":
            self._flow.text(BREAK)
        elif name == "pre":
            self._flow.raw("```\n" + "".join(element.itertext()).strip("\n") + "\n```")
        elif name == "tr":
            self._row(element, "td", "th")
        elif name in ("ul", "ol"):
            self._list(element, numbered=name == "ol")
        elif name == "li":
            self._item(element)
        elif name == "blockquote":
            self._flow.margin("> ")
            self._inside(element)
            self._flow.unmargin()
        elif name in _HEADINGS:
            self._flow.block(_HEADINGS[name])
            self._inside(element)
            self._flow.block()
        elif name in _BLOCKS or name == "table":
            self._flow.block()
            self._inside(element)
            self._flow.block()
        else:
            self._flow.text(_script(element, name))
            self._inside(element)

    def _dropped(self, element: Any, name: str) -> bool:
        if name == "header":  # a page's, not an article's with its title
            parent = element.getparent()
            drop = parent is not None and local_name(parent) == "body"
        else:
            drop = name in _DROPPED or (element.get("role") or "").lower() in _ROLES
        hidden = (
            element.get("hidden") is not None
            or element.get("aria-hidden") == "true"
            or _HIDDEN_STYLE.search(element.get("style") or "") is not None
        )
        if drop or hidden:
            self._tally.add("htmlHidden" if hidden and not drop else f"html:{name}")
        return drop or hidden


def _script(element: Any, name: str) -> str:
    """``^`` before a power and ``_`` before an index, so that 10<sup>6</sup> is not 106."""
    text = "".join(element.itertext()).strip() if name in _SCRIPTS else ""
    return _SCRIPTS[name] if text and len(text) <= 4 and not text.startswith("[") else ""
