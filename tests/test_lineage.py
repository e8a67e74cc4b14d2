from __future__ import annotations

from pathlib import Path
from typing import Any

from astrosage import lineage
from astrosage.runs import manifest
from astrosage.runs.directory import RunDirectory
from astrosage.spec.job import AstroJob
from astrosage.spec.load import parse

QUESTION = '{"id": "q", "question": "Why?", "choices": ["a", "b"], "answer": "A"}\n'


def job(folder: Path, model: Path, name: str = "one", **prepare: Any) -> AstroJob:
    (folder / "t.md").write_text("Some text.")
    (folder / "q.jsonl").write_text(QUESTION)
    sources = [{"path": str(folder / "t.md"), "license": "CC0-1.0"}]
    return parse(
        {
            "metadata": {"name": name},
            "spec": {
                "model": str(model),
                "storage": str(folder / "runs"),
                "stages": [
                    {"name": "corpus", "prepare": {"sources": sources, **prepare}},
                    {"name": "cpt", "train": {"objective": "cpt", "data": "corpus"}},
                    {
                        "name": "score",
                        "bench": {"model": "cpt", "questions": [{"path": str(folder / "q.jsonl")}]},
                    },
                ],
            },
        }
    )


def key(found: AstroJob, stage: str) -> str:
    chosen = found.stage(stage)
    return lineage.stage_key(chosen, lineage.inputs_of(found, chosen, RunDirectory.of(found)))


def test_key_follows_spec_and_content_not_names(tmp_path: Path, tiny_model: Path) -> None:
    first = key(job(tmp_path, tiny_model), "corpus")
    assert key(job(tmp_path, tiny_model, name="two"), "corpus") == first
    assert key(job(tmp_path, tiny_model, pack={"sequenceLength": 64}), "corpus") != first
    changed = job(tmp_path, tiny_model)
    (tmp_path / "t.md").write_text("Other text.")
    assert key(changed, "corpus") != first


def test_questions_of_the_run_are_inputs_of_its_training_data(
    tmp_path: Path, tiny_model: Path
) -> None:
    before = job(tmp_path, tiny_model)
    first = key(before, "corpus")
    (tmp_path / "q.jsonl").write_text(QUESTION.replace("Why?", "When?"))
    assert key(before, "corpus") != first


def test_inputs_carry_digests_and_licences(tmp_path: Path, tiny_model: Path) -> None:
    found = job(tmp_path, tiny_model)
    inputs = lineage.inputs_of(found, found.stage("corpus"), RunDirectory.of(found))
    by_name = {i["name"]: i for i in inputs}
    assert by_name["sources"]["license"] == "CC0-1.0"
    assert by_name["sources"]["digest"] == manifest.sha256_file(tmp_path / "t.md")
    assert by_name["prepare.model"]["kind"] == "model"
    assert len(by_name["prepare.model"]["digest"]) == 64


def test_a_stage_input_is_known_by_its_content(tmp_path: Path, tiny_model: Path) -> None:
    found = job(tmp_path, tiny_model)
    run = RunDirectory.of(found)
    keys = []
    for text in ("one", "two", "one"):
        with run.stage("corpus").storage.writing("shards") as folder:
            (folder / "x").write_text(text)
            manifest.write(folder, key=text)
        keys.append(key(found, "cpt"))
    assert keys[0] == keys[2] != keys[1]


def test_an_entry_replaces_the_stage_s_earlier_one(tmp_path: Path, tiny_model: Path) -> None:
    found = job(tmp_path, tiny_model)
    run = RunDirectory.of(found)
    run.create(found)
    for number in (1, 2):
        lineage.record(run, {"stage": "corpus", "n": number})
    lineage.record(run, {"stage": "cpt", "n": 3})
    assert [(a["stage"], a["n"]) for a in run.lineage()["artefacts"]] == [("corpus", 2), ("cpt", 3)]


def test_versions_and_hardware_are_real() -> None:
    assert lineage.versions()["torch"].startswith("2.")
    assert lineage.hardware()["cores"] >= 1
