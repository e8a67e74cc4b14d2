from __future__ import annotations

from pathlib import Path

import pytest

from astrosage.errors import ConflictError, NotFoundError
from astrosage.runs import manifest
from astrosage.runs.directory import RunDirectory
from astrosage.spec.job import AstroJob
from astrosage.spec.load import parse


@pytest.fixture
def job(tmp_path: Path) -> AstroJob:
    return parse(
        {
            "metadata": {"name": "mini", "namespace": "team"},
            "spec": {
                "model": "smollm2-135m",
                "storage": str(tmp_path),
                "stages": [{"name": "corpus", "prepare": {"sources": [{"path": "/t.md"}]}}],
            },
        }
    )


def test_layout_and_round_trip(job: AstroJob, tmp_path: Path) -> None:
    run = RunDirectory.of(job)
    run.create(job)
    assert run.uri == str(tmp_path / "team/mini")
    assert run.name == "mini"
    assert RunDirectory(run.uri).job() == job
    assert run.progress() == {}
    run.write_progress({"phase": "running"})
    assert run.progress()["phase"] == "running"
    assert sorted(p.name for p in Path(run.uri).iterdir()) == [
        "job.yaml",
        "lineage.json",
        "progress.json",
    ]
    run.delete()
    assert not run.exists()


def test_a_name_is_taken_once(job: AstroJob) -> None:
    RunDirectory.of(job).create(job)
    with pytest.raises(ConflictError, match="a run `mini` exists already") as caught:
        RunDirectory.of(job).create(job)
    assert "astroctl resume mini" in caught.value.hint


def test_a_directory_of_another_version_is_refused(job: AstroJob) -> None:
    run = RunDirectory.of(job)
    run.create(job)
    run.storage.write_json("lineage.json", {**run.lineage(), "formatVersion": 99})
    with pytest.raises(ConflictError, match="formatVersion 99, this version of astrosage reads 1"):
        run.job()


def test_what_is_not_there(tmp_path: Path, job: AstroJob) -> None:
    with pytest.raises(NotFoundError, match="no run in"):
        RunDirectory(tmp_path / "none").job()
    run = RunDirectory.of(job)
    run.create(job)
    run.storage.remove("lineage.json")
    with pytest.raises(NotFoundError, match=r"lineage\.json is missing"):
        run.job()


def test_a_stage_is_finished_when_its_manifest_is_there(job: AstroJob) -> None:
    run, stage = RunDirectory.of(job), job.stage("corpus")
    assert run.finished(stage) is None
    with run.stage("corpus").storage.writing("shards") as folder:
        (folder / "x").write_text("1")
        manifest.write(folder, key="k")
    made = run.finished(stage)
    assert made is not None
    assert made["key"] == "k"
