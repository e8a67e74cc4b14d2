"""What is done to each record alone, in any order: licence, cleaning, hash, fingerprint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from astrosage.data.cleaning import Cleaner
from astrosage.data.deduplicate import record_key
from astrosage.data.findings import Findings
from astrosage.data.formats.base import Raw, attempt, whole
from astrosage.data.licenses import LicensePolicy
from astrosage.data.near import Fingerprint, Fingerprinter
from astrosage.data.pickled import Pickled
from astrosage.data.records import Record
from astrosage.data.steps import Steps, count_words
from astrosage.data.tally import Tally
from astrosage.spec.prepare import PrepareSpec
from astrosage.spec.sources import Source


@dataclass(frozen=True)
class Batch:
    """Consecutive records of a source.

    Attributes:
        records: The records, some still to be read.
        source: As the run file has it.
        field: Its place there.
        boilerplate: Lines that the source's documents share.
    """

    records: Sequence[Record | Raw]
    source: Source
    field: str
    boilerplate: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Good(Pickled):
    """A record that is good enough by itself.

    Attributes:
        record: Cleaned.
        words: How many it has.
        key: Its hash.
        fingerprint: Where near-duplicates are looked for, and it has words.
    """

    record: Record
    words: int
    key: bytes
    fingerprint: Fingerprint | None


@dataclass
class Examined:
    """What became of a batch.

    Attributes:
        records: How many there were.
        tried: Those that were read here, and might have failed.
        reading: What was left out or changed in reading them.
        good: Those that are left.
        empty: Those without any text.
        steps: What was left after reading, licence and cleaning.
        licenses: Records by licence.
        refused: Those of them that were left out for it.
        cleaning: What cleaning changed and refused.
    """

    records: int = 0
    tried: int = 0
    reading: Tally = field(default_factory=Tally)
    good: list[Good] = field(default_factory=list)
    empty: int = 0
    steps: Steps = field(default_factory=Steps)
    licenses: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    cleaning: Findings = field(default_factory=Findings)


class Examiner:
    """Examines batches.

    Args:
        spec: The stage's spec.
        field: Its place in the run file.

    Attributes:
        cleaner: Its cleaner.

    Raises:
        SpecError: If a language is not known.
    """

    def __init__(self, spec: PrepareSpec, field: str) -> None:
        self._licenses = spec.licenses
        self.cleaner = Cleaner(spec.clean, f"{field}.clean")
        near = spec.deduplication.near
        self._prints = Fingerprinter(near) if near.enabled else None

    def examine(self, batch: Batch) -> Examined:
        """Each record by itself."""
        found, policy = Examined(), LicensePolicy(self._licenses)
        self.cleaner.learn(batch.boilerplate)
        for record in _read(batch, found):
            found.records += 1
            words = count_words(record)
            found.steps.passed("read", words)
            if policy.admits(record.license or batch.source.license):
                found.steps.passed("licence", words)
                self._clean(record, found)
        found.licenses, found.refused = policy.records, policy.refused
        found.cleaning = self.cleaner.take()
        return found

    def _clean(self, record: Record, found: Examined) -> None:
        cleaned = self.cleaner.apply(record)
        if cleaned is None:
            return
        if not any(cleaned.texts):
            found.empty += 1
            return
        words = count_words(cleaned)
        found.steps.passed("clean", words)
        fingerprint = self._prints.of(cleaned) if self._prints is not None else None
        found.good.append(Good(cleaned, words, record_key(cleaned), fingerprint))


def _read(batch: Batch, found: Examined) -> Iterator[Record]:
    def fail(message: str) -> None:
        found.reading.add("failed", example=message)

    def counted() -> AbstractContextManager[None]:
        found.tried += 1
        return attempt(batch.source, batch.field, fail)

    return whole(batch.records, found.reading, counted)
