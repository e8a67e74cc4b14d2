"""Which records are left out because others say the same: equal, nearly equal, or used before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from astrosage.context import StageContext
from astrosage.data import signature_file, signatures
from astrosage.data.appended import Table, named
from astrosage.data.deduplicate import KEY_BYTES, Deduplicator
from astrosage.data.near import Fingerprint, NearDuplicates
from astrosage.data.signature_file import SignatureFile
from astrosage.spec import graph
from astrosage.spec.deduplicate import Deduplicate

Reason = Literal["equal", "near", "earlier"]


class DuplicateFilter:
    """Remembers what was let through; files hold it, so that memory hardly grows.

    Args:
        options: What counts as a duplicate.
        earlier: What earlier data holds.
        folder: Where files are kept for a run that goes on; None: temporary ones.
    """

    def __init__(
        self,
        options: Deduplicate,
        earlier: Sequence[SignatureFile] = (),
        folder: Path | None = None,
    ) -> None:
        self._options = options
        self._earlier = Deduplicator()
        self._seen = Deduplicator(named(folder, "seen"))
        self._near = NearDuplicates(options.near, folder) if options.near.enabled else None
        self._kept = Table(KEY_BYTES, np.uint8, named(folder, "kept"))
        for found in earlier:
            for keys in signatures.record_keys(found):
                self._earlier.add_many(keys)
            if self._near is not None:
                for rows in signatures.fingerprints(found):
                    self._near.add_earlier(rows)

    def reason(self, key: bytes, fingerprint: Fingerprint | None = None) -> Reason | None:
        """Why a record is to be left out; None if it is not, and then it is remembered.

        Args:
            key: Its hash.
            fingerprint: Where near-duplicates are looked for; None: it has no words.
        """
        if key in self._earlier:
            return "earlier"
        if not self._seen.is_new(key) and self._options.exact:
            return "equal"
        found = self._near.judge(fingerprint) if self._near is not None else None
        if found is not None:
            return "near" if found == "near" else "earlier"
        if self._near is not None:
            self._kept.add(key)
        return None

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` takes."""
        near = self._near.state() if self._near is not None else None
        return {"seen": self._seen.stored(), "kept": self._kept.stored(), "near": near}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where an interrupted run was.

        Raises:
            DataError: If its files were changed.
        """
        self._seen.restore(state["seen"])
        self._kept.restore(state["kept"])
        if self._near is not None:
            self._near.restore(state["near"])

    def to_dict(self) -> dict[str, Any]:
        """Clusters of near-duplicates, as the report has them; empty where none were looked for."""
        return self._near.clusters() if self._near is not None else {}

    def write(self, folder: Path) -> None:
        """Leave signatures for later runs, where near-duplicates were looked for."""
        if self._near is not None:
            signatures.write(folder, self._kept, self._near, self._options.near)


def earlier_data(context: StageContext, options: Deduplicate, field: str) -> list[SignatureFile]:
    """What ``deduplicate.against`` names.

    Args:
        context: Of the stage.
        options: Its deduplication.
        field: Its place in the run file.

    Raises:
        AstroError: If one of them cannot be read or compared with.
    """
    found = []
    for i, name in enumerate(options.against):
        where = f"{field}.deduplicate.against[{i}]"
        if graph.makes(context.job, name):
            folder = context.shards_path(name)
            found.append(signature_file.of_stage(folder, name, options.near, where))
        else:
            found.append(signature_file.of_run(name, options.near, where))
    return found
