"""Encoded batches into their splits; where sources are mixed, once all have come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from astrosage.data.account import Account, SourceAccount
from astrosage.data.encode import Encoded, Tokens
from astrosage.data.mixing import proportions
from astrosage.data.sampling import copies
from astrosage.data.selection import BATCH_CHARACTERS, BATCH_RECORDS, Chosen
from astrosage.data.shards import Document, Piece
from astrosage.data.waiting import Waiting
from astrosage.spec.mixture import Mixture


class Target(Protocol):
    """Where a split's pieces go."""

    documents: int

    def add(self, pieces: Sequence[Piece], group: str = "") -> None:
        """Take up a document's pieces."""


class Filler:
    """Fills the splits.

    Args:
        splits: By name.
        account: Kept up to date.
        mixed: Whether training records wait until :meth:`mix` says how often each is seen.
        file: Where they wait, so that an interrupted run can go on; None: a temporary file.
    """

    def __init__(
        self,
        splits: Mapping[str, Target],
        account: Account,
        mixed: bool = False,
        file: Path | None = None,
    ) -> None:
        self._splits, self._account, self._mixed = splits, account, mixed
        self._waiting = Waiting(file)
        self._dealt = 0  # documents that no longer wait

    def fill(self, batches: Iterable[tuple[Sequence[Chosen], Encoded]]) -> Iterator[None]:
        """Take records in, yielding after each batch so that progress can be told."""
        for batch, encoded in batches:
            self._account.take_encoded(encoded)
            for item, tokens in zip(batch, encoded.documents, strict=True):
                self._take(item, tokens)
            yield

    def mix(self, mixture: Mixture, seed: int, field: str) -> Iterator[None]:
        """Bring the sources into proportion, yielding after each batch.

        Raises:
            DataError: If a source with a share has no tokens, or none has.
        """
        if not self._mixed:
            return
        sources = [s for s in self._account.sources if not s.validation]
        parts = proportions([s.source for s in sources], [s.once for s in sources], mixture, field)
        for source, part in zip(sources, parts, strict=True):
            source.part = part
        for place, (number, key, pieces) in enumerate(self._waiting):
            if place < self._dealt:
                continue
            source = self._account.sources[number]
            assert source.part is not None
            times = copies(key, source.part.epochs, seed)
            if times:
                self._add(source, "train", pieces, times)
            else:
                self._account.not_sampled += 1
            self._dealt += 1
            if self._dealt % BATCH_RECORDS == 0:
                yield

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` takes."""
        return {"waiting": self._waiting.size(), "dealt": self._dealt}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where an interrupted run was."""
        self._waiting.restore(*state["waiting"])
        self._dealt = state["dealt"]

    def _take(self, item: Chosen, tokens: Tokens | None) -> None:
        account = self._account
        if tokens is None:
            account.contaminated += 1
            return
        account.steps.passed("decontaminate", tokens.words)
        if not item.copies:
            account.not_sampled += 1
            return
        account.steps.passed("sample", tokens.words)
        if not tokens.lengths:
            return
        record, count = item.record, sum(tokens.lengths)
        pieces = tokens.pieces(Document(record.id, record.source, record.line))
        account.lengths[count.bit_length() - 1] += 1
        if self._mixed and item.split == "train":
            item.account.once += count
            self._waiting.add(account.sources.index(item.account), item.key, pieces)
        else:
            self._add(item.account, item.split, pieces, item.copies)

    def _add(self, account: SourceAccount, split: str, pieces: list[Piece], times: int) -> None:
        target = self._splits[split]
        target.documents += 1
        # Validation is told source by source; training rows mix, which packs them best.
        target.add(pieces * times, account.source.path if split == "validation" else "")
        account.kept += 1
        account.tokens[split] += times * sum(len(p.ids) for p in pieces)


def batches(chosen: Iterable[Chosen]) -> Iterator[list[Chosen]]:
    """Chosen records in batches, which may be of several sources."""
    batch: list[Chosen] = []
    characters = 0
    for item in chosen:
        batch.append(item)
        characters += sum(map(len, item.record.texts))
        if len(batch) == BATCH_RECORDS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
