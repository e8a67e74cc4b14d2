from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from astrosage.errors import StorageError
from astrosage.runs import fork, manifest
from astrosage.runs.directory import RunDirectory
from astrosage.runs.storage import Storage
from astrosage.spec.job import AstroJob
from astrosage.spec.load import parse


def job(storage: str, name: str = "old", **metadata: Any) -> AstroJob:
    return parse(
        {
            "metadata": {"name": name, **metadata},
            "spec": {
                "model": "org/model",
                "storage": storage,
                "stages": [{"name": "corpus", "prepare": {"sources": [{"path": "s3://x/*.md"}]}}],
            },
        }
    )


def finished(run: RunDirectory, key: str = "k1") -> None:
    """Fill in a run whose one stage is finished."""
    storage = run.stage("corpus").storage
    with storage.writing("shards") as folder:
        (folder / "train").mkdir()
        (folder / "train" / "tokens.bin").write_bytes(b"x" * 100)
        manifest.write(folder, key=key)
    storage.write_bytes("shards/report.html", b"later")
    storage.write_bytes("metrics.jsonl", b'{"loss": 1}\n')
    entry = {"stage": "corpus", "kind": "prepare", "key": key, "digest": "d"}
    run.storage.write_json(
        "lineage.json", {**run.lineage(), "artefacts": [entry, {"stage": "x", "key": "y"}]}
    )


@pytest.fixture(params=["disk", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "runs") if request.param == "disk" else f"memory://{tmp_path.name}/runs"


@pytest.fixture
def both(storage: str) -> tuple[RunDirectory, RunDirectory]:
    old = RunDirectory.of(job(storage))
    old.create(job(storage))
    finished(old)
    forked = job(storage, "new", annotations={fork.ANNOTATION: "default/old"})
    new = RunDirectory.of(forked)
    new.create(forked)
    return old, new


def test_a_finished_stage_is_taken_over_whole(both: tuple[RunDirectory, RunDirectory]) -> None:
    old, new = both
    source = fork.source_of(new, new.job())
    assert source is not None
    assert source.uri == old.uri
    stage = new.job().stage("corpus")
    entry = fork.take_over(source, new, stage, "k1")
    assert entry is not None
    assert entry["takenFrom"] == {"run": "default/old", "uri": old.uri}
    assert entry["digest"] == "d"
    made = new.finished(stage)
    assert made == old.finished(stage)
    here = new.stage("corpus").storage
    assert here.read_bytes("shards/train/tokens.bin") == b"x" * 100
    assert here.read_bytes("shards/report.html") == b"later"
    assert here.read_bytes("metrics.jsonl") == b'{"loss": 1}\n'
    assert here.read_json("spec.json")["key"] == "k1"


def test_the_two_runs_stay_apart(both: tuple[RunDirectory, RunDirectory]) -> None:
    old, new = both
    stage = new.job().stage("corpus")
    fork.take_over(old, new, stage, "k1")
    new.stage("corpus").storage.write_bytes("shards/report.html", b"mine")
    assert old.stage("corpus").storage.read_bytes("shards/report.html") == b"later"
    old.delete()
    assert new.stage("corpus").storage.read_bytes("shards/train/tokens.bin") == b"x" * 100
    assert fork.source_of(new, new.job()) is None


def test_another_key_is_not_taken(both: tuple[RunDirectory, RunDirectory]) -> None:
    old, new = both
    stage = new.job().stage("corpus")
    assert fork.take_over(old, new, stage, "k2") is None
    assert new.finished(stage) is None
    assert not new.stage("corpus").storage.exists("spec.json")


def test_a_fork_of_a_fork_names_the_run_that_did_the_work(
    both: tuple[RunDirectory, RunDirectory], storage: str
) -> None:
    old, new = both
    stage = new.job().stage("corpus")
    entry = fork.take_over(old, new, stage, "k1")
    new.storage.write_json("lineage.json", {**new.lineage(), "artefacts": [entry]})
    third = job(storage, "third", annotations={fork.ANNOTATION: "default/new"})
    run = RunDirectory.of(third)
    run.create(third)
    again = fork.take_over(new, run, stage, "k1")
    assert again is not None
    assert again["takenFrom"]["run"] == "default/old"


def test_on_a_disk_nothing_is_copied(tmp_path: Path) -> None:
    storage = str(tmp_path)
    old = RunDirectory.of(job(storage))
    old.create(job(storage))
    finished(old)
    new = RunDirectory(tmp_path / "default" / "new")
    new.create(job(storage, "new"))
    fork.take_over(old, new, new.job().stage("corpus"), "k1")
    file = "stages/corpus/shards/train/tokens.bin"
    assert (tmp_path / "default/old" / file).samefile(tmp_path / "default/new" / file)


def test_where_a_disk_cannot_link_files_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    old = RunDirectory.of(job(str(tmp_path)))
    old.create(job(str(tmp_path)))
    finished(old)
    new = RunDirectory(tmp_path / "default" / "new")
    new.create(job(str(tmp_path), "new"))
    assert fork.take_over(old, new, new.job().stage("corpus"), "k1")
    file = "stages/corpus/shards/train/tokens.bin"
    assert not (tmp_path / "default/old" / file).samefile(tmp_path / "default/new" / file)


@pytest.mark.parametrize("damage", ["missing", "short"])
def test_a_damaged_source_is_refused_and_leaves_nothing(damage: str, tmp_path: Path) -> None:
    old = RunDirectory.of(job(str(tmp_path)))
    old.create(job(str(tmp_path)))
    finished(old)
    file = tmp_path / "default/old/stages/corpus/shards/train/tokens.bin"
    file.unlink()
    if damage == "short":
        file.write_bytes(b"x")
    new = RunDirectory(tmp_path / "default" / "new")
    new.create(job(str(tmp_path), "new"))
    with pytest.raises(StorageError, match=r"tokens\.bin (is missing|has 1 bytes)"):
        fork.take_over(old, new, new.job().stage("corpus"), "k1")
    assert new.finished(new.job().stage("corpus")) is None


def test_a_job_without_the_annotation_is_no_fork(tmp_path: Path) -> None:
    plain = job(str(tmp_path))
    run = RunDirectory.of(plain)
    assert fork.source_of(run, plain) is None
    lost = job(str(tmp_path), annotations={fork.ANNOTATION: "default/none"})
    assert fork.source_of(run, lost) is None


def test_the_source_is_found_from_the_place_of_the_run(tmp_path: Path) -> None:
    """A pod sees a claim under a path; the job says pvc://."""
    old = RunDirectory(tmp_path / "default" / "old")
    old.create(job("pvc://claim/runs"))
    forked = job("pvc://claim/runs", "new", annotations={fork.ANNOTATION: "default/old"})
    found = fork.source_of(RunDirectory(Storage(tmp_path / "default" / "new")), forked)
    assert found is not None
    assert json.loads((tmp_path / "default/old/lineage.json").read_text())["run"] == "default/old"
