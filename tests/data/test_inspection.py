from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from astroctl.datasets.inspect import InspectionError, shown, stage_of
from astroctl.datasets.inspect import inspect as ask
from astrosage.context import StageContext
from astrosage.data.inspection import inspect
from astrosage.data.run import run
from astrosage.errors import AstroError, NotFoundError, SpecError
from astrosage.runs.directory import RunDirectory
from astrosage.spec.job import AstroJob
from astrosage.spec.load import parse
from tests.tiny import TEXT


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> AstroJob:
    """A run with a stage of texts and one of chats."""
    folder = tmp_path_factory.mktemp("inspect")
    texts = [{"id": f"t{i}", "text": t * (6 if i == 1 else 1)} for i, t in enumerate(TEXT)]
    messages = [
        {"role": "user", "content": "What is a star?"},
        {"role": "assistant", "content": "A ball of hot gas."},
    ]
    (folder / "t.jsonl").write_text("".join(json.dumps(t) + "\n" for t in texts))
    (folder / "c.jsonl").write_text(json.dumps({"id": "c0", "messages": messages}) + "\n")
    pack = {"sequenceLength": 64}
    stages = [
        {
            "name": "corpus",
            "prepare": {"sources": [{"path": f"{folder}/t.jsonl", "weight": 2}], "pack": pack},
        },
        {
            "name": "chat",
            "prepare": {"sources": [{"path": f"{folder}/c.jsonl"}], "pack": pack, "format": "chat"},
        },
    ]
    job = parse(
        {
            "metadata": {"name": "seen"},
            "spec": {"model": str(tiny_model), "storage": str(folder / "runs"), "stages": stages},
        }
    )
    directory = RunDirectory.of(job)
    directory.create(job)
    for stage in job.spec.stages:
        run(StageContext(job.to_yaml_dict(), stage.name, directory.uri, key="k"))
    return job


@pytest.fixture
def uri(job: AstroJob) -> str:
    return RunDirectory.of(job).uri


def spans(answer: dict[str, Any]) -> str:
    return "".join(text for text, _ in answer["spans"])


def test_a_record_is_put_together_from_its_parts(uri: str) -> None:
    found = inspect(uri, "corpus", "train", "t1", None)
    assert spans(found) == TEXT[1] * 6 + "<|endoftext|>"
    assert found["tokens"] > 64
    assert found["learned"] == found["tokens"] - -(-found["tokens"] // 64)


def test_records_by_number_are_those_of_the_list(uri: str) -> None:
    listed = inspect(uri, "corpus", "train", None, None)["records"]
    assert sorted(r["id"] for r in listed) == ["t0", "t1", "t2", "t3"]
    for record in listed:
        found = inspect(uri, "corpus", "train", str(record["number"]), None)
        assert found["record"]["id"] == record["id"]


def test_a_pack_shows_what_is_learnt(uri: str) -> None:
    found = inspect(uri, "chat", "train", None, 0)
    (document,) = found["documents"]
    learnt = [text for text, is_learnt in document["spans"] if is_learnt]
    assert learnt == ["A ball of hot gas.<|im_end|>"]
    assert document["tokens"] + found["padding"] == 64


def test_in_the_terminal(uri: str) -> None:
    found = ask(uri, "chat", "train", record="c0")
    assert "\u27e6A ball of hot gas.<|im_end|>\u27e7" in shown(found, colour=False)
    assert "\x1b[32mA ball of hot gas.<|im_end|>\x1b[0m" in shown(found, colour=True)
    assert "c0 part 0" in shown(ask(uri, "chat", "train", pack=0), colour=False)
    summary = shown(ask(uri, "chat", "train"), colour=False)
    assert summary.splitlines()[0].split() == ["SPLIT", "PACKS", "TOKENS", "LEARNT", "DOCUMENTS"]


@pytest.mark.parametrize(
    ("record", "pack", "message"),
    [
        ("gone", None, "--record gone: the train split has no such record"),
        (None, 9, "--pack 9: the train split has 1 packs"),
        (None, -1, "--pack -1: the train split has 1 packs"),
    ],
)
def test_what_is_not_there(uri: str, record: str | None, pack: int | None, message: str) -> None:
    with pytest.raises(NotFoundError, match=message) as caught:
        inspect(uri, "chat", "train", record, pack)
    assert "0" in caught.value.hint
    with pytest.raises(InspectionError, match=message) as told:
        ask(uri, "chat", "train", record, pack)
    assert (told.value.exit_code, told.value.hint) == (3, caught.value.hint)


def test_a_run_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(AstroError):
        ask(str(tmp_path / "gone"), "chat", "train")


def test_which_stage_is_meant(job: AstroJob) -> None:
    assert stage_of(job, "chat") == "chat"
    with pytest.raises(SpecError, match="2 prepare stages") as caught:
        stage_of(job, None)
    assert "corpus, chat" in caught.value.hint
    with pytest.raises(SpecError, match="no prepare stage `caht`") as near:
        stage_of(job, "caht")
    assert "`chat`" in near.value.hint
