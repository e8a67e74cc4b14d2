"""Which records are used: read, cleaned, deduplicated, decontaminated, split and weighted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from astrosage.data.account import Account, SourceAccount
from astrosage.data.clean import clean
from astrosage.data.decontaminate import Decontaminator
from astrosage.data.deduplicate import Deduplicator, record_key
from astrosage.data.licenses import LicensePolicy, check_licenses
from astrosage.data.records import Record
from astrosage.data.sampling import copies, is_held_out
from astrosage.data.sources import read_records
from astrosage.spec.stages import PrepareSpec, Source


@dataclass(frozen=True, slots=True)
class Chosen:
    """A record that is used: in which split, how often, and whose account it is on."""

    record: Record
    split: str
    copies: int
    account: SourceAccount


def sources_of(spec: PrepareSpec, field: str) -> Iterator[tuple[Source, str, bool]]:
    """``(source, field, is validation)``, validation first, since training yields to it."""
    for i, source in enumerate(spec.validation.sources):
        yield source, f"{field}.validation.sources[{i}]", True
    for i, source in enumerate(spec.sources):
        yield source, f"{field}.sources[{i}]", False


def choose(
    spec: PrepareSpec, field: str, decontaminator: Decontaminator | None, account: Account
) -> Iterator[Chosen]:
    """Stream the records that are used; keeps a 16-byte key of each, not its text.

    A training record equal to one of ``validation.sources`` is left out. Validation records count
    once whatever their source's weight.

    Args:
        spec: The stage's spec.
        field: Its place in the run file.
        decontaminator: None leaves decontamination out.
        account: Kept up to date.

    Raises:
        SpecError: If a source cannot have a licence that the stage takes.
        NotFoundError, DataError: At the first record that cannot be used.
    """
    check_licenses(spec, field)
    account.licenses = LicensePolicy(spec.licenses)
    seen, held_out = Deduplicator(), Deduplicator()
    for source, where, is_validation in sources_of(spec, field):
        own = SourceAccount(source, is_validation)
        account.sources.append(own)
        for record in read_records(source, spec.format, where, own.reading):
            own.records += 1
            if not account.licenses.admits(record.license or source.license):
                continue
            record = clean(record)
            if not any(record.texts):
                account.empty += 1
                continue
            key = record_key(record)
            if is_validation:
                held_out.is_new(key)
            elif key in held_out:
                account.held_out += 1
                continue
            if not seen.is_new(key) and spec.deduplicate:
                account.duplicates += 1
                continue
            if decontaminator is not None:
                record = decontaminator.apply(record)
                if not any(record.texts):
                    account.contaminated += 1
                    continue
            if is_validation or is_held_out(key, spec.validation.fraction):
                yield Chosen(record, "validation", 1, own)
            elif times := copies(key, source.weight, spec.seed):
                yield Chosen(record, "train", times, own)
            else:
                account.not_sampled += 1
