"""Licences: one name for each, and which are taken.

Texts tell their licence as an SPDX name, as an address (arXiv, OpenStax) or in words; they are
compared by SPDX name, see https://spdx.org/licenses/.
"""

from __future__ import annotations

import re
from collections import Counter

from astrosage.data.words import words
from astrosage.errors import SpecError
from astrosage.spec.prepare import PrepareSpec
from astrosage.spec.sources import Licenses, Source

UNKNOWN = "unknown"
ARXIV = "LicenseRef-arXiv-nonexclusive"
"""What arXiv got from authors who gave no other licence: it may distribute, others may not."""

_CREATIVE = re.compile(r"creativecommons\.org/licen[cs]es/([a-z-]+)/(\d\.\d)")
_PUBLIC = re.compile(r"creativecommons\.org/(?:publicdomain/zero|licenses/zero)/(\d\.\d)")
_ARXIV = re.compile(r"arxiv\.org/licenses/(?:nonexclusive-distrib|assumed)")
_ENDING = r"(?:[\s,]*(?:universal|international|unported|generic|public|licen[cs]e))*\.?"
_WORDS = re.compile(
    r"(?:cc|creative[\s-]*commons)[\s-]*((?:by|nc|nd|sa)(?:[\s-]+(?:by|nc|nd|sa))*)[\s-]*v?(\d\.\d)?"
    + _ENDING
)
_ZERO = re.compile(r"(?:cc|creative[\s-]*commons)[\s-]*(?:0|zero)(?:[\s-]*v?(\d\.\d))?" + _ENDING)
_LONG = (
    ("attribution", "by"),
    ("non-commercial", "nc"),
    ("noncommercial", "nc"),
    ("no derivatives", "nd"),
    ("noderivatives", "nd"),
    ("share-alike", "sa"),
    ("sharealike", "sa"),
)
# Kinds whose records may tell their licence themselves.
_TELLING = words("auto jsonl parquet arxiv wikipedia cnxml")


def spdx(text: str | None) -> str:
    """The SPDX name of a licence that is known by address, name or words.

    What is not recognised is returned as it is, ``unknown`` if there is nothing.
    """
    stated = " ".join((text or "").split())
    low = stated.lower()
    if not low or low in ("none", "null", "unknown", "noassertion"):
        return UNKNOWN
    if found := _CREATIVE.search(low):
        return f"CC-{found.group(1).upper()}-{found.group(2)}"
    if found := _PUBLIC.search(low):
        return f"CC0-{found.group(1)}"
    if _ARXIV.search(low):
        return ARXIV
    if found := _ZERO.fullmatch(low):
        return f"CC0-{found.group(1) or '1.0'}"
    for long, short in _LONG:
        low = low.replace(long, short)
    if found := _WORDS.fullmatch(low):
        parts = re.split(r"[\s-]+", found.group(1))
        version = found.group(2) or ""
        return "-".join(["CC", *(p.upper() for p in parts), *([version] if version else [])])
    return stated


class LicensePolicy:
    """Decides by licence, and counts.

    Attributes:
        records: Records by licence.
        refused: Those of them that were left out.
    """

    def __init__(self, options: Licenses) -> None:
        self._allowed = {spdx(name).lower() for name in options.allow}
        self._require_known = options.require_known
        self.records: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def admits(self, license: str | None) -> bool:  # noqa: A002
        """Whether a text under this licence is taken; it is counted."""
        name = spdx(license)
        self.records[name] += 1
        if name == UNKNOWN:
            good = not (self._require_known or self._allowed)
        else:
            good = not self._allowed or name.lower() in self._allowed
        if not good:
            self.refused[name] += 1
        return good

    def add(self, records: Counter[str], refused: Counter[str]) -> None:
        """Take up what was counted elsewhere."""
        self.records.update(records)
        self.refused.update(refused)

    def to_dict(self) -> dict[str, dict[str, int]]:
        """Records and refused ones by licence."""
        return {
            name: {"records": count, "refused": self.refused[name]}
            for name, count in sorted(self.records.items())
        }


def check_licenses(spec: PrepareSpec, field: str) -> None:
    """Refuse sources that can have no licence that the stage takes.

    Raises:
        SpecError: Naming the source.
    """
    options = spec.licenses
    if not (options.require_known or options.allow):
        return
    for name, sources in (
        ("sources", spec.sources),
        ("validation.sources", spec.validation.sources),
    ):
        for i, source in enumerate(sources):
            _check(source, options, f"{field}.{name}[{i}]")


def _check(source: Source, options: Licenses, field: str) -> None:
    if source.kind in _TELLING and not _only_text(source):
        return
    stated = spdx(source.license)
    if stated == UNKNOWN:
        raise SpecError(
            f"{field}: no licence is known of {source.path}, and `licenses` wants one",
            "give the source's `license`, or take the demand back",
        )
    if not LicensePolicy(options).admits(source.license):
        raise SpecError(
            f"{field}.license: {stated} is not among `licenses.allow` ({', '.join(options.allow)})",
            "leave the source out, or allow its licence",
        )


def _only_text(source: Source) -> bool:
    """Whether the path's ending says that its files tell no licence."""
    return source.kind == "auto" and source.path.lower().endswith(
        (".md", ".txt", ".tex", ".html", ".md.gz", ".txt.gz", ".tex.gz", ".html.gz")
    )
