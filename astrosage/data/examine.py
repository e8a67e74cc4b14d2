"""What is done to each record alone, in any order: licence, cleaning, hash, fingerprint."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from astrosage.data.cleaning import Cleaner
from astrosage.data.deduplicate import record_key
from astrosage.data.findings import Findings
from astrosage.data.licenses import LicensePolicy
from astrosage.data.near import Fingerprint, Fingerprinter
from astrosage.data.records import Record
from astrosage.data.steps import Steps, count_words
from astrosage.spec.prepare import PrepareSpec


@dataclass(frozen=True)
class Batch:
    """Consecutive records of a source, as they were read.

    Attributes:
        records: The records.
        license: Of those that state none.
        boilerplate: Lines that the source's documents share.
    """

    records: list[Record]
    license: str | None = None
    boilerplate: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Good:
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
        good: Those that are left.
        empty: Those without any text.
        steps: What was left after reading, licence and cleaning.
        licenses: Records by licence.
        refused: Those of them that were left out for it.
        cleaning: What cleaning changed and refused.
    """

    records: int
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
        found, policy = Examined(len(batch.records)), LicensePolicy(self._licenses)
        self.cleaner.learn(batch.boilerplate)
        for record in batch.records:
            words = count_words(record)
            found.steps.passed("read", words)
            if policy.admits(record.license or batch.license):
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
