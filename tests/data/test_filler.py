from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from astrosage.data import filler
from astrosage.data.account import Account, SourceAccount
from astrosage.data.encode import BatchEncoder
from astrosage.data.filler import Filler, batches
from astrosage.data.records import Record
from astrosage.data.selection import Chosen
from astrosage.data.shards import Split
from astrosage.data.tokenise import load_tokenizer
from astrosage.spec.prepare import PrepareSpec
from astrosage.spec.stages import Source


def choose(*texts: str, copies: int = 1, split: str = "train") -> list[Chosen]:
    account = SourceAccount(Source(path="a.md"), validation=False)
    return [
        Chosen(Record(str(n), "a.md", 1, t), split, copies, account, b"")
        for n, t in enumerate(texts)
    ]


def test_batches_are_bounded_by_records_and_by_characters() -> None:
    half = "x" * (filler.BATCH_CHARACTERS // 2)
    chosen = choose(half, half, half, *["y"] * (filler.BATCH_RECORDS + 5))
    assert [len(b) for b in batches(chosen)] == [2, filler.BATCH_RECORDS, 6]


@pytest.fixture
def encoder(tiny_model: Path) -> BatchEncoder:
    spec = PrepareSpec.model_validate(
        {"sources": [{"path": "a.md"}], "pack": {"sequenceLength": 16}}
    )
    return BatchEncoder(spec, load_tokenizer(tiny_model), None)


def filled(encoder: BatchEncoder, chosen: list[Chosen]) -> tuple[dict[str, Split], Account]:
    account, splits = Account(), {name: Split(name) for name in ("train", "validation")}
    targets: Any = splits
    list(Filler(targets, account).fill([(chosen, encoder.encode(chosen))]))
    return splits, account


def test_copies_share_their_arrays_and_are_accounted(encoder: BatchEncoder) -> None:
    chosen = choose("A star.", copies=3) + choose("A moon.", split="validation")
    splits, account = filled(encoder, chosen)
    first, second, third = splits["train"].pieces
    assert first is second is third
    assert (splits["train"].documents, splits["validation"].documents) == (1, 1)
    assert chosen[0].account.tokens == {"train": 3 * len(first.ids), "validation": 0}
    assert chosen[1].account.kept == 1
    assert account.steps.documents["sample"] == 2


def test_what_is_sent_between_processes_gives_the_same_pieces(encoder: BatchEncoder) -> None:
    import pickle

    chosen = choose("A planet moves around a star. " * 10, "A moon.")
    encoded = pickle.loads(pickle.dumps(encoder.encode(chosen)))
    (whole,) = (encoder._encoder.pieces(chosen[:1]),)
    assert encoded.documents[0] is not None
    from astrosage.data.shards import Document

    found = encoded.documents[0].pieces(Document("0", "a.md", 1))
    assert [p.ids.tolist() for p in found] == [p.ids.tolist() for p in whole[0]]
    assert [p.learned.tolist() for p in found] == [p.learned.tolist() for p in whole[0]]
    assert [(p.document, p.part) for p in found] == [(p.document, p.part) for p in whole[0]]


def test_a_record_that_is_not_sampled_is_counted_and_makes_no_tokens(
    encoder: BatchEncoder,
) -> None:
    splits, account = filled(encoder, choose("A star.", copies=0) + choose("A moon."))
    assert len(splits["train"].pieces) == 1
    assert account.not_sampled == 1
    assert account.steps.documents["decontaminate"] == 2
