"""arXiv's bulk source files: tar archives of papers, each a gzipped tar or a gzipped single file.

The layout is that of https://info.arxiv.org/help/bulk_data_s3.html: ``arXiv_src_YYMM_NNN.tar`` with
members such as ``0704/0704.0001.gz``, ``0703/astro-ph0703123.gz`` and, where authors sent no
source, ``0704/0704.0002.pdf``.
"""

from __future__ import annotations

import io
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from astrosage.data.compressed import Limits, unpacked
from astrosage.data.formats.archive import is_tar, members
from astrosage.data.formats.arxiv_metadata import Choice, Paper, normal_id
from astrosage.data.formats.base import File, Raw, Reading
from astrosage.data.formats.latex import choose_documents, convert, is_source, project_of
from astrosage.data.latex.project import Project
from astrosage.data.reading import opened, too_large
from astrosage.data.records import Record
from astrosage.data.tally import Tally
from astrosage.errors import DataError
from astrosage.spec.sources import ArxivOptions, Source

_GLANCE = 3
_EXPANSION = 3  # a paper's text is about so many times as large as its compressed source
_SINGLE = "paper.tex"
# What a single file may be instead of TeX, by how it begins.
_OTHERS = ((b"%!", "arxivPostScript"), (b"%PDF", "arxivPdfOnly"), (b"\xf7\x02", "arxivDvi"))
_WITHDRAWN_BYTES = 2_000


def read(files: list[File], reading: Reading) -> Iterator[Raw]:
    """See :class:`~astrosage.data.formats.base.Reader`."""
    choice = Choice(reading.source.arxiv or ArxivOptions(), reading)
    for file in reading.each(files[:1] if reading.glance else files):
        yield from _read_file(file, choice, reading)


def _read_file(file: File, choice: Choice, reading: Reading) -> Iterator[Raw]:
    chosen = _Chosen(choice, reading)
    number = 0
    with _cut_short(reading), opened(file, reading.limits) as stream:
        for name, content in members(
            stream, str(file), reading.limits, reading.tally, chosen.wants
        ):
            number += 1
            told = (name, chosen.last, str(file), number, reading.limits, reading.source)
            yield Raw(partial(_read_paper, content, *told), _EXPANSION * len(content))
            if reading.glance and number >= _GLANCE:
                return


@contextmanager
def _cut_short(reading: Reading) -> Iterator[None]:
    """An archive that breaks off gives what was before; the rest is one failure."""
    try:
        yield
    except DataError as error:
        if not reading.source.skips:
            raise
        reading.judge()
        reading.tried += 1
        reading.tally.add("archivesCut", example=error.message)
        reading.fail(error.message)


class _Chosen:
    """Asked for each member by name; remembers the paper of the one that is read."""

    def __init__(self, choice: Choice, reading: Reading) -> None:
        self._choice, self._tally, self._glance = choice, reading.tally, reading.glance
        self.last: tuple[str, Paper] = ("", Paper("", None))

    def wants(self, name: str) -> bool:
        stem, ending = posixpath.splitext(posixpath.basename(name))
        identifier = normal_id(stem)
        if identifier is None or ending not in (".gz", ".pdf"):
            self._tally.add("arxivNoPaper", example=name)
            return False
        found = self._choice.of(identifier) if not self._glance else Paper("", None)
        if isinstance(found, str):
            self._tally.add(found)
            return False
        if ending == ".pdf":
            self._tally.add("arxivPdfOnly", example=name)
            return False
        self.last = (identifier, found)
        return True


def _read_paper(
    content: bytes,
    name: str,
    chosen: tuple[str, Paper],
    file: str,
    number: int,
    limits: Limits,
    source: Source,
    tally: Tally,
) -> Record | None:
    text = _text(content, f"{file}:{name}", limits, source, tally)
    if not text:
        return None
    identifier, paper = chosen
    title = f"# {paper.title}\n\n" if paper.title and text[:2] != "# " else ""
    return Record(identifier, file, number, text=title + text, license=paper.license)


def _text(content: bytes, where: str, limits: Limits, source: Source, tally: Tally) -> str:
    """A paper's text; empty where it has none that can be read."""
    with unpacked(io.BytesIO(content), where, limits) as stream:
        data = stream.read(limits.record_bytes + 1)
    if len(data) > limits.record_bytes:
        raise too_large(where, limits)
    if is_tar(data):
        found = members(io.BytesIO(data), where, limits, tally, is_source, marked_end=False)
        project = project_of(found, where, limits, tally)
    else:
        for beginning, kind in _OTHERS:
            if data.startswith(beginning):
                if kind == "arxivPostScript" and b"\\document" in data:
                    continue  # `%!TEX` begins a comment
                tally.add(kind, example=where)
                return ""
        project = Project({_SINGLE: lambda: data}, where, limits, tally)
    if _is_withdrawn(data):
        tally.add("arxivWithdrawn", example=where)
        return ""
    mains = choose_documents(project, source, tally)
    texts = [convert(project, main, tally).text for main in mains]
    text = "\n\n".join(t for t in texts if t)
    if not text:
        tally.add("arxivEmpty", example=where)
    return text


def _is_withdrawn(data: bytes) -> bool:
    """arXiv keeps a withdrawn paper's place with a short note in place of its source."""
    return len(data) < _WITHDRAWN_BYTES and b"withdrawn" in data.lower()
