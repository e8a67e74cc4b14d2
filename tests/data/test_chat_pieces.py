from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.data.account import Account, SourceAccount
from astrosage.data.corpus import ChatPieces
from astrosage.data.records import Record
from astrosage.data.selection import Chosen
from astrosage.data.shards import Piece
from astrosage.errors import DataError
from astrosage.spec.chat import Chat
from astrosage.spec.sources import Source
from tests.data.chat_families import FAMILIES

PLENTY = 100_000


@pytest.fixture(scope="module")
def tokenizers(tiny_model: Path) -> dict[str, Any]:
    return {name: FAMILIES[name].tokenizer(tiny_model) for name in ("chatml", "qwen3")}


def choose(*answers: str, **source: Any) -> Chosen:
    messages = []
    for answer in answers:
        messages += [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": answer}]
    record = Record("c", "c.jsonl", 1, messages=tuple(messages))
    account = SourceAccount(Source(path="c.jsonl", **source), validation=False)
    return Chosen(record, "train", 1, account, b"")


def pieces(
    tokenizer: Any, batch: list[Chosen], length: int = PLENTY, **options: Any
) -> tuple[list[list[Piece]], Account]:
    account = Account()
    encoder = ChatPieces(tokenizer, length, account, Chat.model_validate(options))
    return encoder.pieces(batch), account


def learnt(tokenizer: Any, found: list[Piece]) -> str:
    return "|".join(tokenizer.decode(p.ids[p.learned == 1].tolist()) for p in found)


def test_a_piece_for_each_answer_where_the_template_shows_earlier_ones_otherwise(
    tokenizers: dict[str, Any],
) -> None:
    ((found,), account) = pieces(tokenizers["qwen3"], [choose("So.", "Thus.")])
    assert [p.part for p in found] == [0, 1]
    assert learnt(tokenizers["qwen3"], found) == (
        "<think>\n\n</think>\n\nSo.<|im_end|>|<think>\n\n</think>\n\nThus.<|im_end|>"
    )
    assert dict(+account.chat) == {"answers": 2, "split": 1, "sequences": 2}


def test_cut_drop_and_last(tokenizers: dict[str, Any]) -> None:
    tokenizer, chat = tokenizers["chatml"], choose("So.", "word " * 30)
    (((whole,),), _) = pieces(tokenizer, [chat])
    length = len(whole.ids) - 1
    (((cut,),), account) = pieces(tokenizer, [chat], length)
    assert learnt(tokenizer, [cut]) == "So.<|im_end|>"
    assert (account.over_long_cut, account.over_long_dropped) == (1, 0)
    assert dict(+account.chat) == {"answers": 1, "answersCut": 1}
    for options in ({"overLong": "drop"}, {"learn": "last"}):
        found, account = pieces(tokenizer, [chat], length, **options)
        assert found == [[]]
        assert (account.over_long_cut, account.over_long_dropped) == (0, 1)
        assert not +account.chat
    ((found_last,), _) = pieces(tokenizer, [chat], learn="last")
    assert learnt(tokenizer, found_last) == f"{'word ' * 30}<|im_end|>"
    assert found_last[0].ids.tolist() == whole.ids.tolist()


@given(
    name=st.sampled_from(["chatml", "qwen3"]),
    lengths=st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=3), max_size=4),
    longest=st.integers(10, 120),
    over_long=st.sampled_from(["cut", "drop"]),
    learn=st.sampled_from(["all", "last"]),
)
def test_every_answer_is_learnt_whole_or_counted(
    tokenizers: dict[str, Any],
    name: str,
    lengths: list[list[int]],
    longest: int,
    over_long: str,
    learn: str,
) -> None:
    batch = [choose(*("x" * n for n in answers)) for answers in lengths]
    options = {"overLong": over_long, "learn": learn}
    whole, _ = pieces(tokenizers[name], batch, learn=learn)
    found, account = pieces(tokenizers[name], batch, longest, **options)
    asked = [sum(_runs(p) for p in ps) for ps in whole]
    kept = [sum(_runs(p) for p in ps) for ps in found]
    assert asked == [len(a) if learn == "all" else 1 for a in lengths]
    assert all(len(p.ids) <= longest and p.learned[-1] for ps in found for p in ps)
    assert account.over_long_dropped == kept.count(0)
    assert account.over_long_cut == sum(0 < k < a for k, a in zip(kept, asked, strict=True))
    assert account.chat["answers"] == sum(kept)
    if over_long == "drop" or learn == "last":
        assert account.over_long_cut == 0
    for here, there in zip(found, whole, strict=True):
        for piece in here:
            assert any(
                piece.ids.tolist() == p.ids[: len(piece.ids)].tolist()
                and piece.learned.tolist() == p.learned[: len(piece.ids)].tolist()
                for p in there
            )


def _runs(piece: Piece) -> int:
    return sum(b > a for a, b in zip([0, *piece.learned], [*piece.learned, 0], strict=False))


def test_what_the_template_cannot_render_is_left_out_where_the_source_says_so(
    tokenizers: dict[str, Any],
) -> None:
    forged = "b<|im_end|>"
    with pytest.raises(DataError, match="control token"):
        pieces(tokenizers["chatml"], [choose(forged)])
    batch = [choose(forged, on_error="skip"), choose("So.", on_error="skip")]
    found, account = pieces(tokenizers["chatml"], batch)
    assert [len(ps) for ps in found] == [0, 1]
    assert dict(+account.chat) == {"answers": 1, "refused": 1}
    assert account.counts()["chatRefused"] == 1


def test_traces_are_dropped_before_anything_is_learnt(tokenizers: dict[str, Any]) -> None:
    chat = choose("<think>\nHm.\n</think>\n\nSo.")
    ((found,), account) = pieces(tokenizers["chatml"], [chat], reasoning={"traces": "drop"})
    assert learnt(tokenizers["chatml"], found) == "So.<|im_end|>"
    assert account.chat["tracesDropped"] == 1
