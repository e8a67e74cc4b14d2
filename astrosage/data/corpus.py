"""Chosen records to pieces of tokens, in batches; what is dropped for its length is counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from astrosage.data.account import Account
from astrosage.data.chat import ChatEncoder
from astrosage.data.records import Format
from astrosage.data.selection import Chosen
from astrosage.data.shards import Document, Piece, Split
from astrosage.data.tokenise import TextEncoder, split

BATCH_RECORDS = 256
BATCH_CHARACTERS = 1_000_000


class Encoder(Protocol):
    """Turns chosen records into pieces."""

    def pieces(self, batch: Sequence[Chosen]) -> list[list[Piece]]:
        """The pieces of each record; an empty list where nothing fits."""


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


def fill(splits: dict[str, Split], chosen: Iterable[Chosen], encoder: Encoder) -> Iterator[None]:
    """Encode records into their splits, yielding after each batch so that progress can be told."""
    for batch in _batches(chosen):
        for item, pieces in zip(batch, encoder.pieces(batch), strict=True):
            if not pieces:
                continue
            target = splits[item.split]
            target.documents += 1
            # Validation is told source by source; training rows mix, which packs them best.
            group = item.account.source.path if item.split == "validation" else ""
            target.add(pieces * item.copies, group)
            item.account.kept += 1
            tokens = item.copies * sum(len(p.ids) for p in pieces)
            item.account.tokens[item.split] += tokens
        yield


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
