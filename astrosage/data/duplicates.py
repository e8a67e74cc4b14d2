"""Which records are left out because others say the same: equal, nearly equal, or used before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from astrosage.context import StageContext
from astrosage.data import signatures
from astrosage.data.deduplicate import Deduplicator
from astrosage.data.near import NearDuplicates
from astrosage.data.records import Record
from astrosage.data.signatures import Signatures
from astrosage.spec.deduplicate import Deduplicate

Reason = Literal["equal", "near", "earlier"]


class DuplicateFilter:
    """Remembers what was let through.

    Args:
        options: What counts as a duplicate.
        earlier: What earlier data holds.
    """

    def __init__(self, options: Deduplicate, earlier: Sequence[Signatures] = ()) -> None:
        self._options = options
        self._seen = Deduplicator()
        self._earlier = {key for found in earlier for key in found.key_list()}
        self._near = NearDuplicates(options.near) if options.near.enabled else None
        self._keys: list[bytes] = []
        if self._near is not None:
            for found in earlier:
                self._near.add_earlier(found.signatures)

    def reason(self, record: Record, key: bytes) -> Reason | None:
        """Why the record is to be left out; None if it is not, and then it is remembered."""
        if key in self._earlier:
            return "earlier"
        if not self._seen.is_new(key) and self._options.exact:
            return "equal"
        found = self._near.find(record) if self._near is not None else None
        if found is not None:
            return "near" if found == "near" else "earlier"
        if self._near is not None:
            self._keys.append(key)
        return None

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
