"""Chosen records to pieces of tokens, in batches; what is dropped for its length is counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from astrosage.data.account import Account, SourceAccount
from astrosage.data.chat import ChatEncoder
from astrosage.data.mixing import proportions
from astrosage.data.records import Format
from astrosage.data.sampling import copies
from astrosage.data.selection import Chosen
from astrosage.data.shards import Document, Piece
from astrosage.data.tokenise import TextEncoder, split
from astrosage.data.waiting import Waiting
from astrosage.spec.mixture import Mixture

BATCH_RECORDS = 256
BATCH_CHARACTERS = 1_000_000


class Encoder(Protocol):
    """Turns chosen records into pieces."""

    def pieces(self, batch: Sequence[Chosen]) -> list[list[Piece]]:
        """The pieces of each record; an empty list where nothing fits."""


class Target(Protocol):
    """Where a split's pieces go."""

    documents: int

    def add(self, pieces: Sequence[Piece], group: str = "") -> None:
        """Take up a document's pieces."""


class TextPieces:
    """Documents: cut into consecutive pieces, all but a piece's first token learnt."""

    def __init__(self, tokenizer: Any, sequence_length: int) -> None:
        self._encoder, self._length = TextEncoder(tokenizer), sequence_length
        self._learned = np.ones(sequence_length, dtype=np.uint8)  # every piece has a view of it
        self._learned[0] = 0
        self._learned.flags.writeable = False

    def pieces(self, batch: Sequence[Chosen]) -> list[list[Piece]]:
        """See :class:`Encoder`."""
        encoded = self._encoder.encode([c.record.text for c in batch])
        result = []
        for chosen, ids in zip(batch, encoded, strict=True):
            parts = split(ids, self._length)
            document = _document(chosen)
            result.append(
                [
                    Piece(document, n, part, self._learned[: len(part)])
                    for n, part in enumerate(parts)
                ]
            )
        return result


class ChatPieces:
    """Conversations: one piece each, cut at a turn where too long, answers learnt."""

    def __init__(self, tokenizer: Any, sequence_length: int, account: Account) -> None:
        self._encoder, self._length = ChatEncoder(tokenizer), sequence_length
        self._account = account

    def pieces(self, batch: Sequence[Chosen]) -> list[list[Piece]]:
        """See :class:`Encoder`."""
        result: list[list[Piece]] = []
        for chosen, whole in zip(
            batch, self._encoder.encode([c.record for c in batch]), strict=True
        ):
            cut = whole.cut(self._length)
            if cut is None:
                self._account.over_long_dropped += 1
                result.append([])
                continue
            self._account.over_long_cut += len(cut.ids) < len(whole.ids)
            learned = cut.learned
            learned[0] = 0  # nothing comes before it
            result.append([Piece(_document(chosen), 0, cut.ids, learned)])
        return result


def make_encoder(
    format: Format,  # noqa: A002
    tokenizer: Any,
    sequence_length: int,
    account: Account,
) -> Encoder:
    """The encoder of a format."""
    if format == "chat":
        return ChatPieces(tokenizer, sequence_length, account)
    return TextPieces(tokenizer, sequence_length)


class Filler:
    """Encodes records into their splits.

    Args:
        splits: By name.
        encoder: Of the stage's format.
        account: Kept up to date.
        mixed: Whether training records wait until :meth:`mix` says how often each is seen.
    """

    def __init__(
        self,
        splits: Mapping[str, Target],
        encoder: Encoder,
        account: Account,
        mixed: bool = False,
    ) -> None:
        self._splits, self._encoder, self._account = splits, encoder, account
        self._mixed = mixed
        self._waiting = Waiting()

    def fill(self, chosen: Iterable[Chosen]) -> Iterator[None]:
        """Take records in, yielding after each batch so that progress can be told."""
        for batch in _batches(chosen):
            for item, pieces in zip(batch, self._encoder.pieces(batch), strict=True):
                if not pieces:
                    continue
                tokens = sum(len(p.ids) for p in pieces)
                self._account.lengths[tokens.bit_length() - 1] += 1
                if self._mixed and item.split == "train":
                    item.account.once += tokens
                    self._waiting.add(self._account.sources.index(item.account), item.key, pieces)
                else:
                    self._add(item.account, item.split, pieces, item.copies)
            yield

    def mix(self, mixture: Mixture, seed: int, field: str) -> None:
        """Bring the sources into proportion.

        Raises:
            DataError: If a source with a share has no tokens, or none has.
        """
        if not self._mixed:
            return
        sources = [s for s in self._account.sources if not s.validation]
        parts = proportions([s.source for s in sources], [s.once for s in sources], mixture, field)
        for source, part in zip(sources, parts, strict=True):
            source.part = part
        for number, key, pieces in self._waiting:
            source = self._account.sources[number]
            assert source.part is not None
            times = copies(key, source.part.epochs, seed)
            if times:
                self._add(source, "train", pieces, times)
            else:
                self._account.not_sampled += 1
        self._waiting = Waiting()

    def _add(self, account: SourceAccount, split: str, pieces: list[Piece], times: int) -> None:
        target = self._splits[split]
        target.documents += 1
        # Validation is told source by source; training rows mix, which packs them best.
        target.add(pieces * times, account.source.path if split == "validation" else "")
        account.kept += 1
        account.tokens[split] += times * sum(len(p.ids) for p in pieces)


def _batches(chosen: Iterable[Chosen]) -> Iterator[list[Chosen]]:
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


def _document(chosen: Chosen) -> Document:
    return Document(chosen.record.id, chosen.record.source, chosen.record.line)
