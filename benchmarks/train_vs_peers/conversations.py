"""The benchmark's data: the sample chat pairs, joined into conversations of varying length.

A conversation has one to eight question-answer pairs (geometric, mean 2.5), as long as it fits into
a sequence. One pair in ten is held out of training; conversations made of those score the models
afterwards. Every contestant gets the same token ids and the same marks of what is learnt.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astrosage.data.chat import ChatEncoder
from astrosage.data.pack import best_fit_decreasing
from astrosage.data.records import Record, parse_line
from astrosage.data.tokenise import load_tokenizer

CHAT = Path(__file__).resolve().parents[2] / "examples/data/chat.jsonl"
_HELD_OUT = 32
_MOST_PAIRS = 8
_MEAN_PAIRS = 2.5


@dataclass(frozen=True)
class Data:
    """What was written, and how much of it there is.

    Attributes:
        chat: ``messages`` records, for whoever tokenises itself.
        tokens: ``input_ids`` and ``assistant_masks`` of the same records in the same order.
        heldout: The same for the conversations that score the models.
        records: Conversations to train on.
        lengths: Tokens of each.
        learnt: Tokens learnt in all of them.
        rows: Sequences that best-fit-decreasing packing makes of them.
    """

    chat: Path
    tokens: Path
    heldout: Path
    records: int
    lengths: list[int]
    learnt: int
    rows: int


def make(folder: Path, model: Path, sequence_length: int, rows: int, seed: int = 0) -> Data:
    """Write as many conversations as fill ``rows`` packed sequences."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder = ChatEncoder(load_tokenizer(model))
    pairs = [json.loads(line)["messages"] for line in CHAT.open(encoding="utf-8")]
    choose = random.Random(seed)
    choose.shuffle(pairs)
    heldout = _conversations(pairs[: len(pairs) // 10], choose, encoder, sequence_length)
    training = _conversations(pairs[len(pairs) // 10 :], choose, encoder, sequence_length)
    chosen: list[tuple[list[Any], Any]] = []
    lengths: list[int] = []
    while True:
        messages, encoded = next(training)
        lengths.append(len(encoded.ids))
        if len(best_fit_decreasing(lengths, sequence_length)) > rows:
            lengths.pop()
            break
        chosen.append((messages, encoded))
    scored = [next(heldout) for _ in range(_HELD_OUT)]
    _write(folder / "chat.jsonl", [{"messages": messages} for messages, _ in chosen])
    _write(folder / "tokens.jsonl", [_tokens(encoded) for _, encoded in chosen])
    _write(folder / "heldout.jsonl", [_tokens(encoded) for _, encoded in scored])
    return Data(
        folder / "chat.jsonl",
        folder / "tokens.jsonl",
        folder / "heldout.jsonl",
        len(chosen),
        lengths,
        sum(int(encoded.learned.sum()) for _, encoded in chosen),
        len(best_fit_decreasing(lengths, sequence_length)),
    )


def _conversations(pairs: list[Any], choose: random.Random, encoder: ChatEncoder, longest: int):  # type: ignore[no-untyped-def]
    while True:
        wanted = 1
        while wanted < _MOST_PAIRS and choose.random() > 1 / _MEAN_PAIRS:
            wanted += 1
        messages: list[Any] = []
        encoded = None
        for pair in choose.sample(pairs, wanted):
            # A system turn is only allowed at the start.
            more = messages + [m for m in pair if not (messages and m["role"] == "system")]
            ((tried,),) = encoder.encode([_record(more)])
            if len(tried.ids) > longest:
                break
            messages, encoded = more, tried
        if encoded is not None:
            yield messages, encoded


def _record(messages: list[Any]) -> Record:
    return parse_line(json.dumps({"messages": messages}), "chat.jsonl", 1, "chat", "text")


def _tokens(encoded: Any) -> dict[str, Any]:
    return {"input_ids": encoded.ids.tolist(), "assistant_masks": encoded.learned.tolist()}


def _write(file: Path, lines: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(x) + "\n" for x in lines), encoding="utf-8")
