from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from astroctl.datasets.inspect import shown
from astrosage.context import StageContext
from astrosage.data.inspection import inspect
from astrosage.data.run import run
from astrosage.errors import SpecError
from astrosage.runs import manifest
from astrosage.runs.directory import RunDirectory
from astrosage.spec.load import parse
from tests.data.chat_families import FAMILIES
from tests.data.conversations.test_layouts import RECORDS
from tests.tiny import make_model


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a template that shows reasoning in the latest answer only."""
    folder = make_model(tmp_path_factory.mktemp("qwen") / "model")
    tokenizer = FAMILIES["chatml"].tokenizer(folder)
    tokenizer.chat_template = FAMILIES["qwen3"].template
    tokenizer.save_pretrained(folder)
    return folder


def prepare(folder: Path, model: Path, rows: list[dict[str, Any]], **options: Any) -> str:
    """The URI of a run whose stage has these records."""
    file = folder / "c.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    body = {"sources": [{"path": str(file)}], "format": "chat", "pack": {"sequenceLength": 128}}
    stage = {"name": "chat", "prepare": body | options}
    spec = {"model": str(model), "storage": str(folder / "runs"), "stages": [stage]}
    job = parse({"metadata": {"name": "t"}, "spec": spec})
    directory = RunDirectory.of(job)
    directory.create(job)
    run(StageContext(job.to_yaml_dict(), "chat", directory.uri, key="k"))
    return directory.uri


def report(uri: str) -> dict[str, Any]:
    shards = Path(uri) / "stages/chat/shards"
    found: dict[str, Any] = manifest.verify(shards)["report"]
    return found


@pytest.mark.parametrize("layout", RECORDS)
def test_inspect_shows_what_is_learnt_of_each_layout(
    tmp_path: Path, tiny_model: Path, layout: str
) -> None:
    uri = prepare(tmp_path, tiny_model, [RECORDS[layout]])
    found = inspect(uri, "chat", "train", "0", None)
    assert [text for text, learnt in found["spans"] if learnt] == [
        "Short waves scatter most.<|im_end|>"
    ]
    assert "".join(text for text, _ in found["spans"]).startswith("<|im_start|>system\nBe brief.")
    (share,) = report(uri)["shares"]
    assert share["reading"]["counts"] == {f"layout:{layout}": 1}


def test_reasoning_by_policy_and_a_sequence_for_each_answer(tmp_path: Path, qwen: Path) -> None:
    trace = "<think>\nHm.\n</think>\n\n"
    first = {
        "input": [
            {"role": "user", "content": "Why?"},
            {"role": "assistant", "content": f"{trace}So."},
            {"role": "user", "content": "How?"},
        ],
        "output": f"{trace}Thus.",
        "reasoning": "on",
        "system_prompt": "detailed thinking on",
    }
    second = {**first, "input": "Who?", "output": "She.", "reasoning": "off", "system_prompt": ""}
    uri = prepare(tmp_path, qwen, [first, second], chat={"reasoning": {"switch": "flagged"}})
    found = inspect(uri, "chat", "train", "c.jsonl:1", None)
    assert len(found["sequences"]) == 2
    assert [text for text, learnt in found["spans"] if learnt] == [
        f"{trace}So.<|im_end|>",
        f"{trace}Thus.<|im_end|>",
    ]
    assert all(
        spans[0][0].startswith("<|im_start|>system\nReasoning: on<|im_end|>")
        for spans in found["sequences"]
    )
    text = shown(found, colour=False)
    assert "--- sequence 2 of 2\n" in text
    assert text.count("\u27e6<think>\nHm.") == 2
    off = inspect(uri, "chat", "train", "c.jsonl:2", None)
    assert off["spans"][0][0].startswith("<|im_start|>system\nReasoning: off<|im_end|>")
    assert off["spans"][1] == ["<think>\n\n</think>\n\nShe.<|im_end|>", True]
    assert report(uri)["card"]["chat"] == {
        "answers": 3,
        "sequences": 2,
        "split": 1,
        "switchedOff": 1,
        "switchedOn": 1,
        "traces": 2,
    }


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"chat": {"learn": "last"}}, "`chat` belongs to `format: chat`"),
        ({"sources": [{"path": "a.jsonl", "layout": "alpaca"}]}, r"`sources\[0\]\.layout` belongs"),
    ],
)
def test_options_of_chats_are_for_chats(options: dict[str, Any], field: str) -> None:
    body = {"sources": [{"path": "a.jsonl"}], **options}
    spec = {"model": "m", "storage": "s", "stages": [{"name": "corpus", "prepare": body}]}
    with pytest.raises(SpecError, match=field):
        parse({"metadata": {"name": "t"}, "spec": spec})
