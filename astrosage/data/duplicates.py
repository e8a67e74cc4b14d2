"""Which records are left out because others say the same: equal, nearly equal, or used before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from astrosage.context import StageContext
from astrosage.data import signatures
from astrosage.data.deduplicate import Deduplicator
from astrosage.data.near import Fingerprint, NearDuplicates
from astrosage.data.records import Record
from astrosage.data.signatures import Signatures
from astrosage.spec.deduplicate import Deduplicate

Reason = Literal["equal", "near", "earlier"]


class DuplicateFilter:
    """Remembers what was let through.

    Args:
        options: What counts as a duplicate.
        earlier: What earlier data holds.
        folder: Where what waits on disk is kept for a run that goes on; None: nowhere.
    """

    def __init__(
        self,
        options: Deduplicate,
        earlier: Sequence[Signatures] = (),
        folder: Path | None = None,
    ) -> None:
        self._options = options
        self._seen = Deduplicator()
        self._earlier = {key for found in earlier for key in found.key_list()}
        self._near: NearDuplicates | None = None
        if options.near.enabled:
            self._near = NearDuplicates(options.near, folder / "ngrams" if folder else None)
        self._keys: list[bytes] = []
        self._told = 0
        if self._near is not None:
            for found in earlier:
                self._near.add_earlier(found.signatures)

    def reason(
        self, record: Record, key: bytes, fingerprint: Fingerprint | None = None
    ) -> Reason | None:
        """Why the record is to be left out; None if it is not, and then it is remembered.

        Args:
            record: The record.
            key: Its hash.
            fingerprint: Where near-duplicates are looked for; None: it has no words.
        """
        if key in self._earlier:
            return "earlier"
        if not self._seen.is_new(key) and self._options.exact:
            return "equal"
        found = self._near.judge(record, fingerprint) if self._near is not None else None
        if found is not None:
            return "near" if found == "near" else "earlier"
        if self._near is not None:
            self._keys.append(key)
        return None

    def growth(self) -> dict[str, Any]:
        """What was remembered since this was last asked; :meth:`grow` takes it."""
        keys, self._told = self._keys[self._told :], len(self._keys)
        near = self._near.growth() if self._near is not None else None
        return {"seen": self._seen.growth(), "keys": keys, "near": near}

    def grow(self, growth: dict[str, Any]) -> None:
        """Take up what an interrupted run had remembered, part after part."""
        self._seen.grow(growth["seen"])
        self._keys += growth["keys"]
        self._told = len(self._keys)
        if self._near is not None:
            self._near.grow(growth["near"])

    def to_dict(self) -> dict[str, Any]:
        """Clusters of near-duplicates, as the report has them; empty where none were looked for."""
        return self._near.clusters() if self._near is not None else {}

    def write(self, folder: Path) -> None:
        """Leave signatures for later runs, where near-duplicates were looked for."""
        if self._near is not None:
            kept = self._near.signatures()
            signatures.write(folder, self._keys, kept, self._options.near.ngram)


def earlier_data(context: StageContext, options: Deduplicate, field: str) -> list[Signatures]:
    """What ``deduplicate.against`` names.

    Args:
        context: Of the stage.
        options: Its deduplication.
        field: Its place in the run file.

    Raises:
        AstroError: If one of them cannot be read or compared with.
    """
    stages = {stage.name for stage in context.job.spec.stages}
    found = []
    for i, name in enumerate(options.against):
        where = f"{field}.deduplicate.against[{i}]"
        if name in stages:
            folder = context.shards_path(name)
            found.append(signatures.read_stage(folder, name, options.near, where))
        else:
            found.append(signatures.read_file(name, options.near, where))
    return found
