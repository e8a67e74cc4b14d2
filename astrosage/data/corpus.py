"""Chosen records to pieces of tokens; what is dropped for its length is counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from astrosage.data.account import Account
from astrosage.data.chat import ChatEncoder, Conversation
from astrosage.data.conversations.policy import Policy
from astrosage.data.records import Format
from astrosage.data.selection import Chosen
from astrosage.data.shards import Document, Piece
from astrosage.data.tokenise import TextEncoder, split
from astrosage.errors import DataError
from astrosage.spec.chat import Chat


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
    """Conversations: answers learnt; mostly a piece each, cut at a turn or dropped if too long.

    Where the template shows earlier turns otherwise than they were written, a conversation has
    several pieces, in the order of its answers. What becomes of the records is counted in the
    account's ``chat``: ``sequences`` of ``split`` records, ``answers`` that are learnt, those that
    are ``answersCut``, records that are ``refused`` where their source says ``onError: skip``, and
    what :class:`~astrosage.data.conversations.policy.Policy` counts.
    """

    def __init__(
        self, tokenizer: Any, sequence_length: int, account: Account, options: Chat | None = None
    ) -> None:
        self._options = options or Chat()
        self._encoder = ChatEncoder(tokenizer, self._options)
        self._length, self._account = sequence_length, account

    def pieces(self, batch: Sequence[Chosen]) -> list[list[Piece]]:
        """See :class:`Encoder`."""
        policy = Policy(self._options)
        refused: set[int] = set()

        def refuse(place: int, error: DataError) -> None:
            if not batch[place].account.source.skips:
                raise error
            refused.add(place)

        records = [policy.apply(chosen.record) for chosen in batch]
        encoded = self._encoder.encode(records, refuse)
        self._account.chat.update(policy.counts)
        self._account.chat["refused"] += len(refused)
        return [
            [] if place in refused else self._fitting(_document(chosen), wholes)
            for place, (chosen, wholes) in enumerate(zip(batch, encoded, strict=True))
        ]

    def _fitting(self, document: Document, wholes: Sequence[Conversation]) -> list[Piece]:
        """The pieces of a record that fit; none if it is dropped."""
        account = self._account
        kept = [cut for whole in wholes if (cut := whole.cut(self._length)) is not None]
        answers = sum(len(whole.answers) for whole in wholes)
        lost = answers - sum(len(cut.answers) for cut in kept)
        if not kept or (lost and self._options.over_long == "drop"):
            account.over_long_dropped += 1
            return []
        account.over_long_cut += lost > 0
        account.chat["answers"] += answers - lost
        account.chat["answersCut"] += lost
        if len(wholes) > 1:
            account.chat["split"] += 1
            account.chat["sequences"] += len(kept)
        result = []
        for part, cut in enumerate(kept):
            learned = cut.learned
            learned[0] = 0  # nothing comes before it
            result.append(Piece(document, part, cut.ids, learned))
        return result


def make_encoder(
    format: Format,  # noqa: A002
    tokenizer: Any,
    sequence_length: int,
    account: Account,
    chat: Chat | None = None,
) -> Encoder:
    """The encoder of a format."""
    if format == "chat":
        return ChatPieces(tokenizer, sequence_length, account, chat)
    return TextPieces(tokenizer, sequence_length)


def _document(chosen: Chosen) -> Document:
    return Document(chosen.record.id, chosen.record.source, chosen.record.line)
