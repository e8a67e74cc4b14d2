"""Wikipedia's XML dumps (``pages-articles``), read as a stream.

The format is https://www.mediawiki.org/wiki/Help:Export; names of namespaces are taken from the
dump, so that other languages' dumps read as well.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from astrosage.data.compressed import Limits, needed
from astrosage.data.formats.base import File, Raw, Reading
from astrosage.data.formats.wikitext import to_text
from astrosage.data.reading import opened, read_lines, too_large
from astrosage.data.records import Record
from astrosage.data.tally import Tally
from astrosage.errors import DataError
from astrosage.spec.sources import WikipediaOptions

LICENSE = "CC-BY-SA-4.0"
"""Of all text on wikipedia.org; dumps of other wikis do not tell theirs."""
_CHUNK = 2**16
_GLANCE = 3
_DISAMBIGUATION = re.compile(
    r"\{\{\s*(?:disambig\w*|dab|hndis|geodis|surname|given name|set index article|"
    r"[\w ]+ disambiguation)\s*[|}]",
    re.IGNORECASE,
)
_CATEGORY_NAMESPACE, _FILE_NAMESPACE = "14", "6"


@dataclass
class _Site:
    """What the dump says of the wiki."""

    categories: set[str] = field(default_factory=lambda: {"category"})
    files: set[str] = field(default_factory=lambda: {"file", "image"})
    license: str | None = None

    def learn(self, element: Any) -> None:
        for name in element.iter("{*}namespace"):
            names = {
                _CATEGORY_NAMESPACE: self.categories,
                _FILE_NAMESPACE: self.files,
            }.get(name.get("key"))
            if names is not None and name.text:
                names.add(name.text.lower())
        base = element.findtext("{*}base") or ""
        if ".wikipedia.org/" in base:
            self.license = LICENSE

    def categories_of(self, text: str) -> set[str]:
        names = "|".join(map(re.escape, self.categories))
        pattern = rf"\[\[\s*(?:{names})\s*:\s*([^\]|#]+)"
        return {normal_title(m) for m in re.findall(pattern, text, re.IGNORECASE)}


def read(files: list[File], reading: Reading) -> Iterator[Raw]:
    """See :class:`~astrosage.data.formats.base.Reader`."""
    choice = _Choice(reading.source.wikipedia or WikipediaOptions(), reading)
    for file in reading.each(files[:1] if reading.glance else files):
        yield from _read_dump(file, choice, reading)


def _read_dump(file: File, choice: _Choice, reading: Reading) -> Iterator[Raw]:
    site = _Site()
    number = 0
    for element in _elements(file, reading):
        if _name(element) == "siteinfo":
            site.learn(element)
            continue
        page = _Page.of(element)
        if reason := choice.refuses(page, site):
            reading.tally.add(reason)
            continue
        number += 1
        links = frozenset(site.categories | site.files)
        told = (links, site.license, str(file), number, reading.limits)
        yield Raw(partial(_read_page, page, *told), len(page.text))
        if reading.glance and number >= _GLANCE:
            return


def _read_page(
    page: _Page,
    links: frozenset[str],
    license: str | None,  # noqa: A002
    file: str,
    number: int,
    limits: Limits,
    tally: Tally,
) -> Record | None:
    if len(page.text.encode(errors="replace")) > limits.record_bytes:
        raise too_large(f"{file}, page {page.title}", limits)
    text = to_text(page.text, links, tally)
    if not text:
        tally.add("wikipediaEmpty", example=page.title)
        return None
    text = f"# {page.title}\n\n{text}"
    return Record(page.title, file, number, text=text, license=license)


def _elements(file: File, reading: Reading) -> Iterator[Any]:
    """``siteinfo`` and each ``page``, taken out of the tree once it is read."""
    etree = needed("lxml.etree", f"{file}: Wikipedia")
    parser = etree.XMLPullParser(
        events=("end",),
        tag=("{*}siteinfo", "{*}page"),
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=True,
    )
    waiting = 0
    try:
        with opened(file, reading.limits) as stream:
            while chunk := stream.read(_CHUNK):
                parser.feed(chunk)
                waiting += len(chunk)
                for _, element in parser.read_events():
                    waiting = 0
                    yield element
                    _drop(element)
                if waiting > 2 * reading.limits.record_bytes + _CHUNK:
                    raise too_large(f"{file}: a page", reading.limits)
            parser.close()
    except (etree.XMLSyntaxError, DataError) as error:
        fault = error if isinstance(error, DataError) else _cut(file, error)
        if not reading.source.skips:
            raise fault from None
        reading.tried += 1
        reading.tally.add("dumpsCut", example=fault.message)
        reading.fail(fault.message)


def _cut(file: File, error: Exception) -> DataError:
    return DataError(
        f"{file}: the dump is cut off or damaged: {error}", "copy or download it again"
    )


def _drop(element: Any) -> None:
    parent = element.getparent()
    element.clear()
    if parent is not None:
        while len(parent) and parent[0] is not element:
            del parent[0]


def _name(element: Any) -> str:
    return str(element.tag).rsplit("}", 1)[-1]


@dataclass(frozen=True, slots=True)
class _Page:
    title: str
    namespace: str
    redirects: bool
    text: str

    @classmethod
    def of(cls, element: Any) -> _Page:
        return cls(
            title=element.findtext("{*}title") or "",
            namespace=element.findtext("{*}ns") or "0",
            redirects=element.find("{*}redirect") is not None,
            text=element.findtext("{*}revision/{*}text") or "",
        )


class _Choice:
    """Which pages are taken."""

    def __init__(self, options: WikipediaOptions, reading: Reading) -> None:
        self._titles = {
            normal_title(t) for t in _lines(options.titles, "wikipedia.titles", reading)
        }
        self._categories = {normal_title(c) for c in options.categories}
        if options.tree is not None:
            tree = _tree(options.tree, reading)
            self._categories = _below(self._categories, tree, options.depth)
        self._all = options.titles is None and not options.categories

    def refuses(self, page: _Page, site: _Site) -> str:
        """Why a page is left out; empty for one that is taken."""
        if page.namespace != "0":
            return "wikipediaOtherNamespace"
        if page.redirects:
            return "wikipediaRedirect"
        if not (
            self._all
            or normal_title(page.title) in self._titles
            or (self._categories and self._categories & site.categories_of(page.text))
        ):
            return "wikipediaNotChosen"
        if page.title.endswith("(disambiguation)") or _DISAMBIGUATION.search(page.text):
            return "wikipediaDisambiguation"
        return ""


def normal_title(title: str) -> str:
    """A title as the wiki compares it: ``_`` is a space, the first letter a capital."""
    title = " ".join(title.replace("_", " ").split())
    return title[:1].upper() + title[1:]


def _lines(path: str | None, name: str, reading: Reading) -> Iterator[str]:
    if path is None:
        return
    from astrosage.data.sources import expand

    for file in expand(path, f"{reading.field}.{name}"):
        for _, line in read_lines(file):
            if line.strip():
                yield line.strip("\r\n")


def _tree(path: str, reading: Reading) -> dict[str, set[str]]:
    children: dict[str, set[str]] = defaultdict(set)
    for line in _lines(path, "wikipedia.tree", reading):
        parent, tab, child = line.partition("\t")
        if not tab or not child.strip():
            raise DataError(
                f"{reading.field}.wikipedia.tree: {path}: `{line[:80]}` is not parent<TAB>child",
                "write a pair of categories a line, parted by a tab",
            )
        children[normal_title(parent)].add(normal_title(child))
    return children


def _below(roots: set[str], tree: dict[str, set[str]], depth: int) -> set[str]:
    """The roots with what lies below them; categories form circles, so each is gone into once."""
    found, edge = set(roots), set(roots)
    for _ in range(depth):
        edge = {child for parent in edge for child in tree.get(parent, ())} - found
        found |= edge
    return found
