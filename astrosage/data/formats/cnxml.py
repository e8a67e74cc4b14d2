"""OpenStax books: a repository of CNXML modules, in the order of a collection.

A module is a record. Collections (``collections/*.collection.xml``) name modules by their folders
(``modules/m59743/index.cnxml``) and carry the licence; see https://github.com/openstax/poet and
the repositories ``openstax/osbooks-*``.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from astrosage.data.compressed import needed
from astrosage.data.formats.base import File, Reading
from astrosage.data.formats.cnxml_text import module_text
from astrosage.data.formats.mathml import local_name
from astrosage.data.reading import read_bytes
from astrosage.data.records import Record
from astrosage.errors import DataError
from astrosage.spec.base import did_you_mean

_COLLECTION = ".collection.xml"
_MODULE = ".cnxml"


@dataclass(frozen=True)
class _Book:
    slug: str
    file: File
    modules: tuple[str, ...]
    license: str | None


def read(files: list[File], reading: Reading) -> Iterator[Record]:
    """See :class:`~astrosage.data.formats.base.Reader`."""
    modules = {_module_name(f): f for f in files if str(f).endswith(_MODULE)}
    collections = [f for f in files if str(f).endswith(_COLLECTION)]
    others = len(files) - len(modules) - len(collections)
    reading.tally.add("otherFiles", others)
    book = _choose([_book(f, reading) for f in collections], reading)
    order = list(modules) if book is None else list(book.modules)
    if not order:
        raise DataError(
            f"{reading.field}.path: {reading.source.path} matches no {_MODULE} file",
            "match modules and collections of the repository, as in book/**/*xml",
        )
    for name in order:
        with reading.attempt():
            if name not in modules:
                raise DataError(
                    f"{book.file if book else name}: module {name} is not among the files",
                    "let the path match every modules/*/index.cnxml of the repository",
                )
            yield _record(name, modules[name], book, reading)
    if book is not None:
        reading.tally.add("cnxmlOtherBooks", len(set(modules) - set(order)))


def _record(name: str, file: File, book: _Book | None, reading: Reading) -> Record:
    root = parse_xml(read_bytes(file, reading.limits), file)
    text = module_text(root, reading.tally)
    if not text:
        reading.tally.add("cnxmlEmpty", example=str(file))
    license_ = _license(root) or (book.license if book else None)
    return Record(name, str(file), 1, text=text, license=license_)


def _choose(books: list[_Book], reading: Reading) -> _Book | None:
    options = reading.source.cnxml
    wanted = options.collection if options is not None else None
    names = {b.slug: b for b in books}
    if wanted is not None:
        if wanted not in names:
            raise DataError(
                f"{reading.field}.cnxml.collection: there is no collection `{wanted}`",
                did_you_mean(wanted, names),
            )
        return names[wanted]
    if len(books) > 1:
        raise DataError(
            f"{reading.field}: {reading.source.path} matches {len(books)} collections",
            f"set `cnxml.collection` to one of {', '.join(sorted(names))}",
        )
    return books[0] if books else None


def _book(file: File, reading: Reading) -> _Book:
    root = parse_xml(read_bytes(file, reading.limits), file)
    slugs = [e.text.strip() for e in root.iter("{*}slug") if e.text]
    modules = [e.get("document") for e in root.iter("{*}module")]
    name = posixpath.basename(str(file)).removesuffix(_COLLECTION)
    return _Book(slugs[0] if slugs else name, file, tuple(m for m in modules if m), _license(root))


def _license(root: Any) -> str | None:
    for element in root.iter("{*}license"):
        stated = element.get("url") or (element.text or "").strip()
        if stated:
            return str(stated)
    return None


def _module_name(file: File) -> str:
    """A module's name is that of its folder."""
    return posixpath.basename(posixpath.dirname(str(file)))


def parse_xml(raw: bytes, file: File) -> Any:
    """A document's root; entities are not expanded, and nothing is fetched.

    Raises:
        DataError: If it is not well-formed.
    """
    etree = needed("lxml.etree", f"{file}: CNXML")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True
    )
    try:
        root = etree.fromstring(raw, parser=parser)
    except etree.XMLSyntaxError as error:
        raise DataError(f"{file}: broken XML: {error}", "copy or download it again") from None
    if not local_name(root):
        raise DataError(f"{file}: no XML document", "narrow the pattern")
    return root
