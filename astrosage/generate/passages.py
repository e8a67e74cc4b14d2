"""What is written about: records cut into passages at paragraphs, and which of them are taken."""

from __future__ import annotations

import hashlib
import heapq
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from astrosage.data.licenses import LicensePolicy
from astrosage.data.records import Record
from astrosage.data.sources import read_records
from astrosage.data.tally import Tally
from astrosage.spec.generate import GenerateSpec
from astrosage.spec.sources import Source

_BLANK = re.compile(r"\n[^\S\n]*\n\s*")


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a record.

    Attributes:
        id: Its record's id with a hash of its text; unique.
        text: Paragraphs, with a blank line between.
        record: The record's id.
        source: The record's file.
        line: The record's line there.
        license: The record's licence, or its source's.
        digest: Hash of the text, in hex.
    """

    id: str
    text: str
    record: str
    source: str
    line: int
    license: str | None
    digest: str

    def share(self, purpose: str, seed: int) -> float:
        """A number in [0, 1) that follows from the text, a purpose and the seed."""
        return _rank(self.text, f"{purpose}{seed}") / 2**64


def paragraphs(text: str) -> list[str]:
    """A text's paragraphs, which blank lines part."""
    return [found for part in _BLANK.split(text) if (found := part.strip())]


def cut(text: str, least: int, most: int) -> Iterator[str]:
    """Passages of ``least`` to ``most`` words, whole paragraphs as far as these are not longer.

    A paragraph over ``most`` words is cut between words. Passages that stay shorter than ``least``
    are left out.
    """
    held: list[str] = []
    words = 0
    for paragraph, size in _pieces(text, most):
        if words + size > most:
            if words >= least:
                yield "\n\n".join(held)
            held, words = [], 0
        held.append(paragraph)
        words += size
    if words >= least:
        yield "\n\n".join(held)


def _pieces(text: str, most: int) -> Iterator[tuple[str, int]]:
    for paragraph in paragraphs(text):
        words = paragraph.split()
        if len(words) <= most:
            yield paragraph, len(words)
            continue
        for i in range(0, len(words), most):
            part = words[i : i + most]
            yield " ".join(part), len(part)


class Passages:
    """The passages that a stage writes about, in the order of its sources.

    Sources are read twice, first to count and to choose; texts are not held in memory.

    Args:
        spec: The stage's spec.
        field: Its place in the run file.

    Attributes:
        total: How many there are; after :meth:`count`.
        words: Their words.
        account: Records and passages by what became of them.
        licenses: Records by licence.
    """

    def __init__(self, spec: GenerateSpec, field: str) -> None:
        self._spec, self._field = spec, field
        self.total = self.words = 0
        self.account: Counter[str] = Counter()
        self.licenses = LicensePolicy(spec.licenses)
        self._last: int | None = None

    def count(self) -> int:
        """Read everything once, and settle which passages are taken.

        Raises:
            NotFoundError, DataError: At the first record that cannot be used.
        """
        most, seed = self._spec.passages.max, str(self._spec.seed)
        chosen: list[tuple[int, int]] = []  # (minus rank, words): the largest rank first out
        for passage in self._all(self.account, self.licenses):
            size = len(passage.text.split())
            self.account["passages"] += 1
            entry = (-_rank(passage.text, seed), size)
            if most is None:
                self.total, self.words = self.total + 1, self.words + size
            elif len(chosen) < most:
                heapq.heappush(chosen, entry)
            else:
                heapq.heappushpop(chosen, entry)
        if most is not None:
            self.total, self.words = len(chosen), sum(size for _, size in chosen)
            self._last = -chosen[0][0] if chosen else None
        self.account["taken"] = self.total
        return self.total

    def __iter__(self) -> Iterator[Passage]:
        """The passages that are taken; call :meth:`count` before."""
        seed = str(self._spec.seed)
        for passage in self._all(Counter(), LicensePolicy(self._spec.licenses)):
            if self._last is None or _rank(passage.text, seed) <= self._last:
                yield passage

    def _all(self, account: Counter[str], licenses: LicensePolicy) -> Iterator[Passage]:
        """Every passage once, however often its text comes."""
        seen: set[int] = set()
        for i, source in enumerate(self._spec.sources):
            where = f"{self._field}.sources[{i}]"
            for record in read_records(source, "text", where, Tally()):
                account["records"] += 1
                if not licenses.admits(record.license or source.license):
                    account["licenseRefused"] += 1
                    continue
                found = self._of(record, source)
                account["recordsTooShort"] += not found
                for passage in found:
                    rank = _rank(passage.text, "")
                    if rank in seen:
                        account["repeated"] += 1
                        continue
                    seen.add(rank)
                    yield passage

    def _of(self, record: Record, source: Source) -> list[Passage]:
        spec, seed = self._spec, str(self._spec.seed)
        whole = record.text.encode("utf-8", "replace").decode()  # lone surrogates cannot be sent
        texts = list(cut(whole, spec.passages.min_words, spec.most_words))
        if spec.per_record is not None and len(texts) > spec.per_record:
            taken = set(sorted(texts, key=lambda t: _rank(t, f"record{seed}"))[: spec.per_record])
            texts = [text for text in texts if text in taken]
        return [_passage(text, record, source) for text in texts]


def _passage(text: str, record: Record, source: Source) -> Passage:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Passage(
        id=f"{record.id}-{digest[:8]}",
        text=text,
        record=record.id,
        source=record.source,
        line=record.line,
        license=record.license or source.license,
        digest=digest,
    )


def _rank(text: str, purpose: str) -> int:
    """A number of 64 bits that follows from a text and a purpose."""
    raw = f"{purpose}\0{text}".encode()
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest())
