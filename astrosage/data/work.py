"""A prepare stage's work: from records to rows, with a checkpoint now and then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from astrosage.data.account import Account
from astrosage.data.checkpoints import Checkpoints
from astrosage.data.cleaning import Cleaner
from astrosage.data.crew import Crew
from astrosage.data.duplicates import DuplicateFilter
from astrosage.data.filler import Filler, batches
from astrosage.data.mixing import needs_mixing
from astrosage.data.selection import Chosen, Selection
from astrosage.data.signature_file import SignatureFile
from astrosage.data.window import WindowedSplit
from astrosage.spec.prepare import PrepareSpec

SPLITS = ("train", "validation")


class Work:
    """What is done, and what is left of it after an interruption.

    Args:
        spec: The stage's spec.
        field: Its place in the run file.
        folder: Of :func:`~astrosage.data.checkpoints.half_made`.
        earlier: What earlier data holds.
        cleaner: Finds the boilerplate of each source.
        pad_id: Token id of padding.

    Attributes:
        account: Of all records so far.
        duplicates: What is remembered of them.
        splits: By name.
    """

    def __init__(
        self,
        spec: PrepareSpec,
        field: str,
        folder: Path,
        earlier: list[SignatureFile],
        cleaner: Cleaner,
        pad_id: int,
    ) -> None:
        self._spec, self._field, self._folder = spec, field, folder
        self.account = Account()
        self.duplicates = DuplicateFilter(spec.deduplication, earlier, folder)
        self.splits: dict[str, WindowedSplit] = {}
        for name in SPLITS:
            (folder / name).mkdir(exist_ok=True)
            length = spec.pack.sequence_length
            self.splits[name] = WindowedSplit(folder / name, name, length, pad_id)
        mixed = needs_mixing(spec.sources, spec.mixture)
        self._filler = Filler(self.splits, self.account, mixed, folder / "waiting")
        self._selection = Selection(
            spec, field, self.account, self.duplicates, cleaner, folder / "held-out"
        )
        self._is_filled = False
        self._checkpoints = Checkpoints(folder)
        self._restore()

    def fill(self, crew: Crew) -> Iterator[None]:
        """Take in all records, yielding now and then so that progress can be told.

        Between two checkpoints, batches are under way in several places; before one, all come home.
        """
        examined = crew.map("examine", self._selection.read(), lambda read: read.batch)
        while not self._is_filled:
            encoded = crew.map("encode", batches(self._chosen(examined)), lambda batch: batch)
            yield from self._filler.fill(encoded)
            if self._checkpoints.is_due():
                self._store()

    def mix(self) -> None:
        """Bring sources into proportion, once all records are in."""
        for _ in self._filler.mix(self._spec.mixture, self._spec.seed, self._field):
            if self._checkpoints.is_due():
                self._store()

    def _chosen(self, examined: Iterator[tuple[Any, Any]]) -> Iterator[Chosen]:
        """Records until the next checkpoint, or the end."""
        for read, found in examined:
            yield from self._selection.take(read, found)
            if self._checkpoints.is_due():
                return
        self._is_filled = True

    def _store(self) -> None:
        self._checkpoints.store(self._state)
        for split in self.splits.values():
            split.forget(self._folder)

    def _state(self, number: int) -> dict[str, Any]:
        return {
            "splits": {n: split.save(self._folder, number) for n, split in self.splits.items()},
            "remembered": self._selection.state(),
            "place": self._selection.place,
            "filler": self._filler.state(),
            "account": self.account,
            "filled": self._is_filled,
        }

    def _restore(self) -> None:
        state = self._checkpoints.last()
        if state is None:
            return
        self._selection.restore(state["remembered"])
        self.account.restore(state["account"])
        self._selection.place, self._is_filled = state["place"], state["filled"]
        self._filler.restore(state["filler"])
        for name, split in self.splits.items():
            split.restore(self._folder, state["splits"][name])
