"""Which records are used: read, cleaned, deduplicated, decontaminated, split and weighted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from astrosage.data.account import Account, SourceAccount
from astrosage.data.cleaning import Cleaner
from astrosage.data.decontaminate import Decontaminator
from astrosage.data.deduplicate import Deduplicator, record_key
from astrosage.data.duplicates import DuplicateFilter
from astrosage.data.licenses import LicensePolicy, check_licenses
from astrosage.data.mixing import needs_mixing
from astrosage.data.records import Record
from astrosage.data.sampling import copies, is_held_out
from astrosage.data.sources import read_records
from astrosage.data.steps import count_words
from astrosage.data.tally import Tally
from astrosage.spec.stages import PrepareSpec, Source


@dataclass(frozen=True, slots=True)
class Chosen:
    """A record that is used: in which split, how often, whose account it is on, its hash."""

    record: Record
    split: str
    copies: int
    account: SourceAccount
    key: bytes


def sources_of(spec: PrepareSpec, field: str) -> Iterator[tuple[Source, str, bool]]:
    """``(source, field, is validation)``, validation first, since training yields to it."""
    for i, source in enumerate(spec.validation.sources):
        yield source, f"{field}.validation.sources[{i}]", True
    for i, source in enumerate(spec.sources):
        yield source, f"{field}.sources[{i}]", False


def choose(
    spec: PrepareSpec,
    field: str,
    decontaminator: Decontaminator | None,
    account: Account,
    duplicates: DuplicateFilter | None = None,
) -> Iterator[Chosen]:
    """Stream the records that are used; keeps a 16-byte key of each, not its text.

    A training record equal to one of ``validation.sources`` is left out. Validation records count
    once whatever their source's weight. Where the mixture decides how often a record is seen, all
    are given once.

    Args:
        spec: The stage's spec.
        field: Its place in the run file.
        decontaminator: None leaves decontamination out.
        account: Kept up to date.
        duplicates: What earlier data holds is in it already; None: there is none.

    Raises:
        SpecError: If a source cannot have a licence that the stage takes.
        NotFoundError, DataError: At the first record that cannot be used.
    """
    check_licenses(spec, field)
    account.licenses = LicensePolicy(spec.licenses)
    account.cleaner = Cleaner(spec.clean, f"{field}.clean")
    duplicates = duplicates or DuplicateFilter(spec.deduplication)
    selection = _Selection(spec, account, account.cleaner, duplicates, decontaminator)
    for source, where, is_validation in sources_of(spec, field):
        own = SourceAccount(source, is_validation)
        account.sources.append(own)
        if account.cleaner.learns:
            account.cleaner.learn(read_records(source, spec.format, where, Tally()))
        for record in read_records(source, spec.format, where, own.reading):
            own.records += 1
            if chosen := selection.choose(record, own):
                yield chosen


class _Selection:
    """Takes one record after another through the steps."""

    def __init__(
        self,
        spec: PrepareSpec,
        account: Account,
        cleaner: Cleaner,
        duplicates: DuplicateFilter,
        decontaminator: Decontaminator | None,
    ) -> None:
        self._spec, self._account, self._cleaner = spec, account, cleaner
        self._duplicates, self._decontaminator = duplicates, decontaminator
        self._held_out = Deduplicator()
        self._mixed = needs_mixing(spec.sources, spec.mixture)

    def choose(self, record: Record, own: SourceAccount) -> Chosen | None:
        """The record as it is used; None if it is left out, which is counted."""
        account, steps = self._account, self._account.steps
        words = count_words(record)
        steps.passed("read", words)
        if not account.licenses.admits(record.license or own.source.license):
            return None
        steps.passed("licence", words)
        cleaned = self._cleaner.apply(record)
        if cleaned is None:
            return None
        if not any(cleaned.texts):
            account.empty += 1
            return None
        words = count_words(cleaned)
        steps.passed("clean", words)
        key = record_key(cleaned)
        if self._is_duplicate(cleaned, key, own):
            return None
        steps.passed("deduplicate", words)
        if self._decontaminator is not None:
            kept = self._decontaminator.apply(cleaned)
            if not any(kept.texts):
                account.contaminated += 1
                return None
            words = words if kept is cleaned else count_words(kept)
            cleaned = kept
        steps.passed("decontaminate", words)
        chosen = self._sampled(cleaned, key, own)
        if chosen is not None:
            steps.passed("sample", words)
        return chosen

    def _is_duplicate(self, record: Record, key: bytes, own: SourceAccount) -> bool:
        account = self._account
        if own.validation:
            self._held_out.is_new(key)
        elif key in self._held_out:
            account.held_out += 1
            return True
        reason = self._duplicates.reason(record, key)
        account.duplicates += reason == "equal"
        account.near_duplicates += reason == "near"
        account.earlier += reason == "earlier"
        return reason is not None

    def _sampled(self, record: Record, key: bytes, own: SourceAccount) -> Chosen | None:
        spec = self._spec
        if own.validation or is_held_out(key, spec.validation.fraction):
            return Chosen(record, "validation", 1, own, key)
        times = 1 if self._mixed else copies(key, own.source.times, spec.seed)
        if times:
            return Chosen(record, "train", times, own, key)
        self._account.not_sampled += 1
        return None
