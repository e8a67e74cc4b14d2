"""Which records are used: read in order, deduplicated, split and weighted.

What can be done to a record alone (:mod:`astrosage.data.examine`) is done elsewhere, maybe by many;
here is what depends on the records before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from astrosage.data.account import Account, SourceAccount
from astrosage.data.cleaning import Cleaner
from astrosage.data.deduplicate import Deduplicator
from astrosage.data.duplicates import DuplicateFilter
from astrosage.data.examine import Batch, Examined, Good
from astrosage.data.formats.base import Mark, Raw, Reading
from astrosage.data.licenses import check_licenses
from astrosage.data.mixing import needs_mixing
from astrosage.data.pickled import Pickled
from astrosage.data.records import Record
from astrosage.data.sampling import copies, is_held_out, is_in_part
from astrosage.data.sources import read_on, read_records
from astrosage.data.tally import Tally
from astrosage.spec.prepare import PrepareSpec
from astrosage.spec.sources import Source

BATCH_RECORDS = 256
BATCH_CHARACTERS = 500_000


@dataclass(frozen=True, slots=True)
class Chosen(Pickled):
    """A record that is used: in which split, how often, whose account it is on, its hash.

    ``copies`` is 0 where the source's weight or share leaves it out.
    """

    record: Record
    split: str
    copies: int
    account: SourceAccount
    key: bytes


@dataclass(frozen=True)
class Place:
    """Where reading stands: so many records of a file are used.

    Attributes:
        source: The source's number, validation first.
        mark: Where the file began.
        records: Records of it that lie behind.
    """

    source: int = 0
    mark: Mark = field(default_factory=Mark)
    records: int = 0


@dataclass(frozen=True)
class Read:
    """A batch of records as they were read.

    Attributes:
        batch: The records; none at the end of a source.
        number: Whose they are.
        place: Where reading goes on after them.
        reading: The pass over the source; goes on.
    """

    batch: Batch
    number: int
    place: Place
    reading: Reading

    @property
    def is_last(self) -> bool:
        """Whether the pass is over."""
        return self.place.source > self.number


def sources_of(spec: PrepareSpec, field: str) -> Iterator[tuple[Source, str, bool]]:
    """``(source, field, is validation)``, validation first, since training yields to it."""
    for i, source in enumerate(spec.validation.sources):
        yield source, f"{field}.validation.sources[{i}]", True
    for i, source in enumerate(spec.sources):
        yield source, f"{field}.sources[{i}]", False


class Selection:
    """Takes one record after another; keeps a 16-byte key of each, not its text.

    A training record equal to one of ``validation.sources`` is left out. Validation records count
    once whatever their source's weight. Where the mixture decides how often a record is seen, all
    are given once.

    Args:
        spec: The stage's spec.
        field: Its place in the run file.
        account: Kept up to date.
        duplicates: What earlier data holds is in it already.
        cleaner: Finds the boilerplate of each source.
        file: Where the keys of validation records lie for a run that goes on.

    Attributes:
        place: Where reading goes on after what was taken.

    Raises:
        SpecError: If a source cannot have a licence that the stage takes.
    """

    def __init__(
        self,
        spec: PrepareSpec,
        field: str,
        account: Account,
        duplicates: DuplicateFilter,
        cleaner: Cleaner,
        file: Path | None = None,
    ) -> None:
        check_licenses(spec, field)
        self._spec, self._field, self._account = spec, field, account
        self._duplicates, self._cleaner = duplicates, cleaner
        self._held_out = Deduplicator(file)
        self._mixed = needs_mixing(spec.sources, spec.mixture)
        self.place = Place()

    def read(self) -> Iterator[Read]:
        """All records from :attr:`place` on, in batches of one source each.

        Raises:
            NotFoundError, DataError: At the first record that cannot be used.
        """
        start = self.place
        for number, (source, where, _) in enumerate(sources_of(self._spec, self._field)):
            if number < start.source:
                continue
            lines = frozenset[str]()
            if self._cleaner.learns:
                lines = self._cleaner.learnt(
                    read_records(source, self._spec.format, where, Tally())
                )
            begun = start if number == start.source else Place(number)
            reading = Reading.taken_up(source, self._spec.format, where, begun.mark)
            for records, place in _batches(reading, begun):
                batch = Batch(records, source, where, lines)
                yield Read(batch, number, place, reading)

    def take(self, read: Read, examined: Examined) -> Iterator[Chosen]:
        """Those of a batch that are used; the others are counted.

        Raises:
            DataError: If too much of the source cannot be read.
        """
        own = self._own(read)
        self._account.take(own, examined)
        own.judge(read.batch.field, read.reading.tried if read.is_last else None)
        for good in examined.good:
            if not self._is_duplicate(good, own):
                self._account.steps.passed("deduplicate", good.words)
                yield self._decided(good, own)
        self.place = read.place

    def state(self) -> tuple[int, dict[str, Any]]:
        """What :meth:`restore` takes."""
        return self._held_out.stored(), self._duplicates.state()

    def restore(self, state: tuple[int, dict[str, Any]]) -> None:
        """Go on where an interrupted run was.

        Raises:
            DataError: If what it remembers was changed.
        """
        self._held_out.restore(state[0])
        self._duplicates.restore(state[1])

    def _own(self, read: Read) -> SourceAccount:
        sources = self._account.sources
        if read.number == len(sources):
            source, _, is_validation = list(sources_of(self._spec, self._field))[read.number]
            sources.append(SourceAccount(source, is_validation))
        own = sources[read.number]
        own.reading = read.reading.tally
        return own

    def _is_duplicate(self, good: Good, own: SourceAccount) -> bool:
        account = self._account
        if own.validation:
            self._held_out.is_new(good.key)
        elif good.key in self._held_out:
            account.held_out += 1
            return True
        reason = self._duplicates.reason(good.key, good.fingerprint)
        account.duplicates += reason == "equal"
        account.near_duplicates += reason == "near"
        account.earlier += reason == "earlier"
        return reason is not None

    def _decided(self, good: Good, own: SourceAccount) -> Chosen:
        spec, key = self._spec, good.key
        if own.validation or is_held_out(key, spec.validation.fraction):
            return Chosen(good.record, "validation", 1, own, key)
        if spec.fraction is not None and not is_in_part(key, spec.fraction):
            return Chosen(good.record, "train", 0, own, key)
        times = 1 if self._mixed else copies(key, own.source.times, spec.seed)
        return Chosen(good.record, "train", times, own, key)


def _batches(reading: Reading, start: Place) -> Iterator[tuple[list[Record | Raw], Place]]:
    """The records that come after a place, with the place that comes after them."""
    records: list[Record | Raw] = []
    characters, passed = 0, start.records
    mark, count = reading.mark, 0
    for record in read_on(reading):
        if reading.mark is not mark:
            mark, count = reading.mark, 0
        count += 1
        if isinstance(record, Raw):
            reading.tried += 1
        if passed:
            passed -= 1
            continue
        records.append(record)
        characters += record.size if isinstance(record, Raw) else sum(map(len, record.texts))
        if len(records) == BATCH_RECORDS or characters >= BATCH_CHARACTERS:
            yield records, Place(start.source, mark, count)
            records, characters = [], 0
    yield records, Place(start.source + 1)
