from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from astrosage.errors import ConflictError
from astrosage.runs.directory import RunDirectory
from astrosage.spec.job import AstroJob
from astrosage.spec.load import parse
from ray_jobs.pipeline import Pipeline


def job(folder: Path, **train: Any) -> AstroJob:
    corpus = {"name": "corpus", "prepare": {"sources": [{"path": "x.txt"}]}}
    cpt = {"name": "cpt", "train": {"objective": "cpt", "data": "corpus", **train}}
    spec = {"model": "org/model", "storage": str(folder), "stages": [corpus, cpt]}
    return parse({"metadata": {"name": "one"}, "spec": spec})


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run whose training was interrupted after a checkpoint."""
    before = job(tmp_path)
    made = RunDirectory.of(before)
    made.create(before)
    storage = made.stage("cpt").storage
    spec = before.stage("cpt").body.to_yaml_dict()
    storage.write_json("spec.json", {"key": "k", "kind": "train", "spec": spec})
    storage.write_json("checkpoints/step-00000010/state.json", {})
    return made


def forget(run: RunDirectory, now: AstroJob, key: str) -> None:
    stage = now.stage("cpt")
    Pipeline(run, now, [stage], 2)._forget_other(stage, key)


def test_a_changed_training_is_refused_and_its_checkpoints_stay(
    run: RunDirectory, tmp_path: Path
) -> None:
    now = job(tmp_path, learningRate=1e-3, watchdog={"hangSeconds": 60})
    with pytest.raises(ConflictError, match="checkpoints of a training with another spec") as said:
        forget(run, now, "other")
    assert "spec.stages[cpt].train.learningRate: 2e-05 -> 0.001" in said.value.message
    assert "hangSeconds" not in said.value.message, "that may change"
    assert "--fork NEW" in (said.value.hint or "")
    with pytest.raises(ConflictError, match="other inputs"):
        forget(run, job(tmp_path), "other")
    assert run.stage("cpt").storage.exists("checkpoints/step-00000010")


def test_the_same_training_goes_on(run: RunDirectory, tmp_path: Path) -> None:
    forget(run, job(tmp_path), "k")
    assert run.stage("cpt").storage.exists("checkpoints/step-00000010")


def test_without_checkpoints_a_changed_stage_starts_over(run: RunDirectory, tmp_path: Path) -> None:
    storage = run.stage("cpt").storage
    storage.remove("checkpoints")
    storage.write_bytes("metrics.jsonl", b"{}\n")
    forget(run, job(tmp_path, learningRate=1e-3), "other")
    assert not storage.exists("metrics.jsonl")


def test_how_a_training_is_carried_out_is_no_part_of_its_identity(tmp_path: Path) -> None:
    plain = job(tmp_path).stage("cpt").identity()
    carried = job(
        tmp_path,
        zero={"stage": 1},
        microBatchSize=2,
        checkpoint={"keep": 9},
        watchdog={"badLoss": "skip"},
        tracking=[],
        activationCheckpointing=True,
    )
    assert carried.stage("cpt").identity() == plain
    assert job(tmp_path, seed=1).stage("cpt").identity() != plain
