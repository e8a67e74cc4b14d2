from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from astrosage.data.conversations.choice import LayoutChoice
from astrosage.data.records import Record, make_record
from astrosage.data.sources import read_records
from astrosage.data.tally import Tally
from astrosage.errors import DataError
from astrosage.spec.sources import Source

TURNS = (
    {"role": "user", "content": "Why is the sky blue?"},
    {"role": "assistant", "content": "Short waves scatter most."},
)
SYSTEM = {"role": "system", "content": "Be brief."}
FROM_TURNS = [
    {"from": "human", "value": TURNS[0]["content"]},
    {"from": "gpt", "value": TURNS[1]["content"]},
]
LLAMA = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nWhy is the sky blue?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n"
)
# One record of each layout as published sets have it, all of the same conversation.
RECORDS: dict[str, dict[str, Any]] = {
    "messages": {"messages": [SYSTEM, *TURNS]},
    "openhermes": {
        "custom_instruction": None,
        "topic": None,
        "model_name": None,
        "skip_prompt_formatting": None,
        "category": "physics",
        "conversations": [{**turn, "weight": None} for turn in FROM_TURNS],
        "views": None,
        "id": None,
        "hash": None,
        "system_prompt": "Be brief.",
        "source": "airoboros2.2",
    },
    "sharegpt": {"conversations": [{"from": "system", "value": "Be brief."}, *FROM_TURNS]},
    "alpaca": {
        "system": "Be brief.",
        "instruction": "Why is the sky blue?",
        "input": "",
        "output": "Short waves scatter most.",
    },
    "nemotron": {
        "version": "v1",
        "input": [TURNS[0]],
        "output": TURNS[1]["content"],
        "category": "science",
        "license": "cc-by-4.0",
        "reasoning": "off",
        "generator": "Llama-3.3-70B-Instruct",
        "used_in_training": ["Ultra", "Nano"],
        "system_prompt": "Be brief.",
    },
}


def make(data: dict[str, Any], choice: LayoutChoice | None = None, line: int = 7) -> Record:
    return make_record(data, "d/a.jsonl", line, "chat", "text", choice)


@pytest.mark.parametrize("layout", RECORDS)
def test_each_layout_is_recognised_and_gives_the_same_conversation(layout: str) -> None:
    tally = Tally()
    for told in ("auto", layout):
        record = make(RECORDS[layout], LayoutChoice(told, tally))
        assert record.messages == (SYSTEM, *TURNS)
    assert tally.counts == {f"layout:{layout}": 2}


@pytest.mark.parametrize("layout", RECORDS)
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_files_of_each_layout(tmp_path: Path, layout: str, kind: str) -> None:
    file, tally = tmp_path / f"a.{kind}", Tally()
    rows = [RECORDS[layout]] * 2
    if kind == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        arrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.Table.from_pylist(rows), file)
    found = list(read_records(Source(path=str(file)), "chat", "sources[0]", tally))
    assert [record.messages for record in found] == [(SYSTEM, *TURNS)] * 2
    assert tally.counts[f"layout:{layout}"] == 2
    if layout == "nemotron":
        assert [(r.reasoning, r.license) for r in found] == [("off", "cc-by-4.0")] * 2


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"conversation": list(TURNS)}, TURNS),
        ({"conversations": list(TURNS), "messages": None}, TURNS),
        ({"messages": FROM_TURNS}, TURNS),
        ({"messages": list(TURNS), "system_prompt": "Be brief."}, (SYSTEM, *TURNS)),
        ({"messages": [SYSTEM, *TURNS], "system": "Be brief."}, (SYSTEM, *TURNS)),
        ({"messages": [{**SYSTEM, "role": "developer"}, *TURNS]}, (SYSTEM, *TURNS)),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}, TURNS[1]]},
            ({"role": "user", "content": "a"}, TURNS[1]),
        ),
        (
            {"messages": [TURNS[0], {**TURNS[1], "reasoning_content": "Rayleigh."}]},
            (
                TURNS[0],
                {
                    "role": "assistant",
                    "content": "<think>\nRayleigh.\n</think>\n\nShort waves scatter most.",
                },
            ),
        ),
        (
            {"messages": [SYSTEM, *TURNS], "system_prompt": "detailed thinking on"},
            ({"role": "system", "content": "detailed thinking on\n\nBe brief."}, *TURNS),
        ),
        (
            {"instruction": "Shorten it.", "input": "A long text.", "output": "A text."},
            (
                {"role": "user", "content": "Shorten it.\n\nA long text."},
                {"role": "assistant", "content": "A text."},
            ),
        ),
        (
            {
                "instruction": "And red?",
                "output": "They stay.",
                "history": [[TURNS[0]["content"], TURNS[1]["content"]]],
            },
            (
                *TURNS,
                {"role": "user", "content": "And red?"},
                {"role": "assistant", "content": "They stay."},
            ),
        ),
        ({"messages": [TURNS[0], {**TURNS[1], "weight": 1}]}, TURNS),
        (
            {"conversations": [*FROM_TURNS[:1], {**FROM_TURNS[1], "weight": 0}, *FROM_TURNS]},
            (TURNS[0], {**TURNS[1], "weight": "0"}, *TURNS),
        ),
        ({"input": LLAMA, "output": "Short waves scatter most.<|eot_id|>"}, (SYSTEM, *TURNS)),
        ({"input": TURNS[0]["content"], "output": TURNS[1]["content"]}, TURNS),
    ],
)
def test_what_else_is_read(data: dict[str, Any], expected: tuple[dict[str, str], ...]) -> None:
    assert make(data).messages == expected


@pytest.mark.parametrize(
    ("value", "flag"), [("on", "on"), (True, "on"), ("off", "off"), ("a thought", None), (1, None)]
)
def test_the_flag_of_reasoning(value: Any, flag: str | None) -> None:
    assert make({"messages": list(TURNS), "reasoning": value}).reasoning == flag


@pytest.mark.parametrize(
    ("data", "message", "hint"),
    [
        (
            {"conversatons": FROM_TURNS},
            r"no field `conversations` \(.*`conversatons`\)",
            "sharegpt",
        ),
        ({"instruction": "a", "response": "b"}, "no field `output`", "layout is `alpaca`"),
        ({"input": "a"}, "no field `output`", "layout is `nemotron`"),
        ({"text": "a"}, r"line 7: no field `messages` \(fields found: `text`\)", "format: text"),
        ({"conversations": [{"from": "human"}]}, r"conversations\[0\]: no field `value`", "`from`"),
        (
            {"conversations": [{"from": "humn", "value": "a"}]},
            r"conversations\[0\]: unknown role `humn`",
            "mean `human`",
        ),
        (
            {"conversations": FROM_TURNS[1:]},
            r"roles out of order at conversations\[0\]: assistant",
            "in turn",
        ),
        ({"messages": list(TURNS), "system": 3}, "`system` is a number", "text"),
        ({"instruction": "a", "output": 3}, "`output` is a number", "text"),
        (
            {"instruction": "a", "output": "b", "history": ["c"]},
            r"`history\[0\]` is text",
            "question",
        ),
        ({"input": 3, "output": "b"}, "`input` is a number, a list of messages", '"role"'),
        (
            {"messages": [TURNS[0], {**TURNS[1], "tool_calls": [{"id": "1"}]}]},
            r"messages\[1\]: `tool_calls` cannot be learnt",
            "plain text",
        ),
        (
            {"messages": [TURNS[0], {**TURNS[1], "weight": 0.5}]},
            r"messages\[1\]: `weight` is 0.5, 0 or 1 is needed",
            "not learnt",
        ),
        (
            {"messages": [TURNS[0], {**TURNS[1], "weight": 0}]},
            "all answers have `weight: 0`",
            "weight: 1",
        ),
    ],
)
def test_wrong_records(data: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        make(data)
    assert "d/a.jsonl, line 7" in caught.value.message
    assert hint in caught.value.hint


def test_a_source_has_one_layout(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    rows = [RECORDS["sharegpt"], RECORDS["messages"]]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(
        DataError,
        match=r"line 2: the record looks like `messages`.*`sharegpt`, as "
        "its first record",
    ) as caught:
        list(read_records(Source(path=str(file)), "chat", "sources[0]"))
    assert "set `layout`" in caught.value.hint
    with pytest.raises(DataError, match=r"line 1: .*`sharegpt`.*read as `alpaca`, as the run file"):
        list(read_records(Source(path=str(file), layout="alpaca"), "chat", "sources[0]"))


def test_a_record_that_is_left_out_does_not_decide(tmp_path: Path) -> None:
    file, tally = tmp_path / "a.jsonl", Tally()
    rows = [{"messages": []}, RECORDS["alpaca"], RECORDS["messages"], RECORDS["alpaca"]]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = Source(path=str(file), on_error="skip", max_failures=0.5)
    assert len(list(read_records(source, "chat", "sources[0]", tally))) == 2
    assert tally.counts == {"failed": 2, "layout:alpaca": 2}
