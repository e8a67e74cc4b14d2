from __future__ import annotations

from pathlib import Path

import numpy as np

from astrosage.data.account import SourceAccount
from astrosage.data.corpus import TextPieces
from astrosage.data.records import Record
from astrosage.data.selection import Chosen
from astrosage.data.tokenise import load_tokenizer
from astrosage.spec.stages import Source


def choose(*texts: str) -> list[Chosen]:
    account = SourceAccount(Source(path="a.md"), validation=False)
    return [
        Chosen(Record(str(n), "a.md", 1, t), "train", 1, account, b"") for n, t in enumerate(texts)
    ]


def test_a_long_text_is_cut_and_only_first_tokens_are_not_learnt(tiny_model: Path) -> None:
    encoder = TextPieces(load_tokenizer(tiny_model), 16)
    (pieces,) = encoder.pieces(choose("A planet moves around a star. " * 10))
    assert [len(p.ids) for p in pieces[:-1]] == [16] * (len(pieces) - 1)
    assert [p.part for p in pieces] == list(range(len(pieces)))
    assert all(p.learned.tolist() == [0] + [1] * (len(p.ids) - 1) for p in pieces)
    assert [int(np.count_nonzero(p.ids == 0)) for p in pieces] == [0] * (len(pieces) - 1) + [1]
