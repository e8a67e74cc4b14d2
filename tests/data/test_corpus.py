from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from astrosage.data import corpus
from astrosage.data.account import Account, SourceAccount
from astrosage.data.corpus import Filler, TextPieces, make_encoder
from astrosage.data.records import Record
from astrosage.data.selection import Chosen
from astrosage.data.shards import Piece, Split
from astrosage.data.tokenise import load_tokenizer
from astrosage.spec.stages import Source


def choose(*texts: str, copies: int = 1, split: str = "train") -> list[Chosen]:
    account = SourceAccount(Source(path="a.md"), validation=False)
    return [
        Chosen(Record(str(n), "a.md", 1, t), split, copies, account, b"")
        for n, t in enumerate(texts)
    ]


class BatchSizes:
    """An encoder that keeps nothing and notes how it was called."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def pieces(self, batch: Sequence[Chosen]) -> list[list[Piece]]:
        self.sizes.append(len(batch))
        return [[] for _ in batch]


def test_batches_are_bounded_by_records_and_by_characters() -> None:
    noted = BatchSizes()
    half = "x" * (corpus.BATCH_CHARACTERS // 2)
    chosen = choose(half, half, half, *["y"] * (corpus.BATCH_RECORDS + 5))
    filler = Filler({"train": Split("train")}, noted, Account())
    assert len(list(filler.fill(chosen))) == len(noted.sizes)
    assert noted.sizes == [2, corpus.BATCH_RECORDS, 6]


def test_a_long_text_is_cut_and_only_first_tokens_are_not_learnt(tiny_model: Path) -> None:
    encoder = TextPieces(load_tokenizer(tiny_model), 16)
    (pieces,) = encoder.pieces(choose("A planet moves around a star. " * 10))
    assert [len(p.ids) for p in pieces[:-1]] == [16] * (len(pieces) - 1)
    assert [p.part for p in pieces] == list(range(len(pieces)))
    assert all(p.learned.tolist() == [0] + [1] * (len(p.ids) - 1) for p in pieces)
    assert [int(np.count_nonzero(p.ids == 0)) for p in pieces] == [0] * (len(pieces) - 1) + [1]


def test_copies_share_their_arrays_and_are_accounted(tiny_model: Path) -> None:
    account = Account()
    splits = {name: Split(name) for name in ("train", "validation")}
    chosen = choose("A star.", copies=3) + choose("A moon.", split="validation")
    encoder = make_encoder("text", load_tokenizer(tiny_model), 64, account)
    list(Filler(splits, encoder, account).fill(chosen))
    first, second, third = splits["train"].pieces
    assert first is second is third
    assert (splits["train"].documents, splits["validation"].documents) == (1, 1)
    assert chosen[0].account.tokens == {"train": 3 * len(first.ids), "validation": 0}
    assert chosen[1].account.kept == 1
