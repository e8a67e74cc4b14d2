"""Which papers of arXiv are taken: chosen from the metadata snapshot before any is unpacked.

The snapshot is JSON lines with ``id``, ``title``, ``comments``, ``journal-ref``, ``doi``,
``license``, ``categories`` (parted by spaces) and ``versions`` (each with ``created``), see
https://www.kaggle.com/datasets/Cornell-University/arxiv.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from astrosage.data.compressed import Limits
from astrosage.data.formats.base import Reading
from astrosage.data.licenses import spdx
from astrosage.data.reading import read_lines
from astrosage.errors import DataError
from astrosage.spec.sources import ArxivOptions

_NEW = re.compile(r"(\d{2})(\d{2})\.\d{4,5}")
_OLD = re.compile(r"([a-z-]+(?:\.[A-Z]{2})?)/?((\d{2})(\d{2})\d{3})")
_VERSION = re.compile(r"v\d+$")
_WITHDRAWN = re.compile(r"\bwithdrawn\b", re.IGNORECASE)
_GLANCE = 1000


@dataclass(frozen=True, slots=True)
class Paper:
    """What is kept of a paper that is taken."""

    title: str
    license: str | None


def normal_id(name: str) -> str | None:
    """An identifier as the metadata has it: ``0704.0001``, ``astro-ph/0703123``.

    Args:
        name: As in an address, a list or the name of a file (``astro-ph0703123``).

    Returns:
        None if it is none.
    """
    name = name.strip().removeprefix("arXiv:").removeprefix("arxiv:")
    name = _VERSION.sub("", name.rsplit("/abs/", 1)[-1])
    if _NEW.fullmatch(name):
        return name
    found = _OLD.fullmatch(name)
    return f"{found.group(1)}/{found.group(2)}" if found else None


def month_of(identifier: str) -> datetime.date:
    """The first day of the month in which an identifier was given out."""
    found = _NEW.fullmatch(identifier)
    year, month = found.groups() if found else _OLD.fullmatch(identifier).groups()[2:4]  # type: ignore[union-attr]
    whole = int(year) + (1900 if int(year) > 90 else 2000)
    return datetime.date(whole, min(max(int(month), 1), 12), 1)


class Choice:
    """Which papers are taken, and of the others why not.

    Args:
        options: The source's.
        reading: For lists and messages.

    Raises:
        NotFoundError, DataError: If metadata or lists cannot be read.
    """

    def __init__(self, options: ArxivOptions, reading: Reading) -> None:
        self._options, self._reading = options, reading
        exclude = options.exclude
        self._patterns = [re.compile(p, re.IGNORECASE) for p in exclude.journal_ref]
        self._dois = set(_entries(exclude.doi, "arxiv.exclude.doi", reading))
        self._doi_prefixes = tuple(d[:-1] for d in self._dois if d.endswith("*"))
        self._ids = set()
        for entry in _entries(exclude.ids, "arxiv.exclude.ids", reading):
            identifier = normal_id(entry)
            if identifier is None:
                raise DataError(
                    f"{reading.field}.arxiv.exclude.ids: `{entry}` in {exclude.ids} is no arXiv "
                    "identifier",
                    "write 0704.0001 or astro-ph/0703123, one a line",
                )
            self._ids.add(identifier)
        self._licenses = {spdx(name) for name in options.licenses}
        self._papers: dict[str, Paper | str] | None = None
        if options.metadata is not None:
            self._papers = dict(self._scan(options.metadata))

    def of(self, identifier: str) -> Paper | str:
        """The paper, or why it is left out: a kind of the account."""
        if self._papers is None:
            if identifier in self._ids:
                return "arxivExcludedId"
            return self._by_month(identifier)
        found = self._papers.get(identifier)
        return "arxivNotChosen" if found is None else found

    def _by_month(self, identifier: str) -> Paper | str:
        month, options = month_of(identifier), self._options
        first = options.first.replace(day=1) if options.first else None
        if (first and month < first) or (options.last and month > options.last):
            return "arxivNotChosen"
        return Paper("", None)

    def _scan(self, path: str) -> Iterable[tuple[str, Paper | str]]:
        """Papers of the wanted categories and dates; the millions of others are not kept."""
        limits = Limits(expanded_bytes=self._reading.source.max_expanded_bytes)
        from astrosage.data.sources import expand

        for file in expand(path, f"{self._reading.field}.arxiv.metadata"):
            for number, line in read_lines(file, limits):
                if self._reading.glance and number > _GLANCE:
                    return
                if not line.strip():
                    continue
                try:
                    entry = json.loads(line)
                    identifier = str(entry["id"])
                    chosen = self._matches(entry, identifier)
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise DataError(
                        f"{file}, line {number}: no arXiv metadata ({type(error).__name__}: "
                        f"{error})",
                        "each line must be one paper's JSON object, as in the snapshot "
                        "arxiv-metadata-oai-snapshot.json",
                    ) from None
                if chosen:
                    yield identifier, self._judge(entry, identifier)

    def _matches(self, entry: dict[str, Any], identifier: str) -> bool:
        options = self._options
        if options.categories:
            have = entry["categories"].split()
            if not any(h == w or h.startswith(w + ".") for h in have for w in options.categories):
                return False
        if options.first is None and options.last is None:
            return True
        submitted = _submitted(entry, identifier)
        return (options.first is None or submitted >= options.first) and (
            options.last is None or submitted <= options.last
        )

    def _judge(self, entry: dict[str, Any], identifier: str) -> Paper | str:
        if identifier in self._ids:
            return "arxivExcludedId"
        doi = (entry.get("doi") or "").strip().lower()
        if any(d in self._dois or d.startswith(self._doi_prefixes or ("\0",)) for d in doi.split()):
            return "arxivExcludedDoi"
        journal = entry.get("journal-ref") or ""
        if any(p.search(journal) for p in self._patterns):
            return "arxivExcludedJournal"
        if _WITHDRAWN.search(entry.get("comments") or ""):
            return "arxivWithdrawn"
        if self._licenses and spdx(entry.get("license")) not in self._licenses:
            return "arxivLicense"
        return Paper(" ".join((entry.get("title") or "").split()), entry.get("license"))


def _submitted(entry: dict[str, Any], identifier: str) -> datetime.date:
    versions = entry.get("versions") or []
    if versions:
        return parsedate_to_datetime(versions[0]["created"]).date()
    return month_of(identifier)


def _entries(path: str | None, name: str, reading: Reading) -> list[str]:
    """Lines of a list, in lower case for DOIs; ``#`` begins a remark."""
    if path is None:
        return []
    from astrosage.data.sources import expand

    found = []
    for file in expand(path, f"{reading.field}.{name}"):
        for _, line in read_lines(file):
            entry = line.split("#", 1)[0].strip()
            if entry:
                entry = entry.removeprefix("https://doi.org/")
                found.append(entry.lower() if name.endswith("doi") else entry)
    return found
