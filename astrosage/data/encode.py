"""Batches of chosen records to tokens, without the questions that the run is judged by.

Like :mod:`astrosage.data.examine`, this is done to each record alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrosage.data.account import Account
from astrosage.data.corpus import make_encoder
from astrosage.data.decontaminate import Decontaminator, Hit, QuestionIndex
from astrosage.data.pickled import Pickled
from astrosage.data.selection import Chosen
from astrosage.data.shards import Document, Piece
from astrosage.data.steps import count_words
from astrosage.spec.prepare import PrepareSpec


@dataclass(frozen=True, slots=True, eq=False)
class Tokens(Pickled):
    """A record's tokens; small enough to be sent on.

    Attributes:
        words: Words that decontamination left.
        lengths: Tokens of each piece; none where nothing fits or the record is not sampled.
        ids: ``[n]`` those of all pieces.
        learned: ``[n]`` 1 on targets; None: all but the first of each piece.
    """

    words: int
    lengths: tuple[int, ...] = ()
    ids: NDArray[np.int32] | None = None
    learned: NDArray[np.uint8] | None = None

    def pieces(self, document: Document) -> list[Piece]:
        """As pieces of a document."""
        return list(self._pieces(document))

    def _pieces(self, document: Document) -> Iterator[Piece]:
        at = 0
        for part, length in enumerate(self.lengths):
            assert self.ids is not None
            ids = self.ids[at : at + length]
            if self.learned is None:
                learned = _all_but_first(1 << (length - 1).bit_length())[:length]
            else:
                learned = self.learned[at : at + length]
            yield Piece(document, part, ids, learned)
            at += length


@dataclass
class Encoded:
    """What became of a batch.

    Attributes:
        documents: Each record's tokens; None where decontamination left nothing.
        hits: Every question found.
        touched, paragraphs, words: Documents that lost something, and what they lost.
        over_long_dropped, over_long_cut, chat: See :class:`~astrosage.data.account.Account`.
    """

    documents: list[Tokens | None] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)
    touched: int = 0
    paragraphs: int = 0
    words: int = 0
    over_long_dropped: int = 0
    over_long_cut: int = 0
    chat: Counter[str] = field(default_factory=Counter)


class BatchEncoder:
    """Encodes batches.

    Args:
        spec: The stage's spec.
        tokenizer: The model's.
        index: The questions; None leaves decontamination out.
    """

    def __init__(self, spec: PrepareSpec, tokenizer: Any, index: QuestionIndex | None) -> None:
        self._options, self._index = spec.decontaminate, index
        self._own = Account()
        length = spec.pack.sequence_length
        self._encoder = make_encoder(spec.format, tokenizer, length, self._own, spec.chat)
        self._plain = spec.format == "text"

    def encode(self, batch: Sequence[Chosen]) -> Encoded:
        """Each record by itself.

        Raises:
            DataError: At the first one that cannot be learnt or must not be.
        """
        found = Encoded()
        kept = self._decontaminated(batch, found)
        sampled = [c for c in kept if c is not None and c.copies]
        pieces = iter(self._encoder.pieces(sampled))
        for chosen in kept:
            if chosen is None:
                found.documents.append(None)
                continue
            words = count_words(chosen.record)
            found.documents.append(self._packed(words, next(pieces) if chosen.copies else []))
        found.over_long_dropped = self._own.over_long_dropped
        found.over_long_cut = self._own.over_long_cut
        self._own.over_long_dropped = self._own.over_long_cut = 0
        found.chat, self._own.chat = self._own.chat, Counter()
        return found

    def _decontaminated(self, batch: Sequence[Chosen], found: Encoded) -> list[Chosen | None]:
        if self._index is None:
            return list(batch)
        options = self._options
        decontaminator = Decontaminator(self._index, options.action, options.remove)
        kept: list[Chosen | None] = []
        for chosen in batch:
            record = decontaminator.apply(chosen.record)
            kept.append(replace(chosen, record=record) if any(record.texts) else None)
        found.hits, found.touched = decontaminator.hits, decontaminator.documents
        found.paragraphs, found.words = decontaminator.paragraphs, decontaminator.words
        return kept

    def _packed(self, words: int, pieces: Sequence[Piece]) -> Tokens:
        if not pieces:
            return Tokens(words)
        lengths = tuple(len(p.ids) for p in pieces)
        ids = np.concatenate([p.ids for p in pieces])
        learned = None if self._plain else np.concatenate([p.learned for p in pieces])
        return Tokens(words, lengths, ids, learned)


@cache
def _all_but_first(length: int) -> NDArray[np.uint8]:
    learned = np.ones(length, dtype=np.uint8)  # every piece has a view of it
    learned[0] = 0
    learned.flags.writeable = False
    return learned
