"""Training on a real local Ray cluster: every ZeRO stage, resume after every kind of death."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from astrosage.processor import has_bf16
from astrosage.runs import manifest
from astrosage.runs.directory import RunDirectory
from tests.e2e.runs import Driver, losses, make_job

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> RunDirectory:
    """A run that nothing disturbs: 2 workers, ZeRO-3."""
    _, run = make_job(tmp_path_factory.mktemp("reference"), tiny_model, "reference")
    Driver(run).succeed()
    return run


@pytest.fixture
def drivers() -> Iterator[list[Driver]]:
    """Whatever happens, nothing is left running."""
    started: list[Driver] = []
    yield started
    for driver in started:
        if driver.process.poll() is None:
            driver.kill_everything()


def assert_same_end(run: RunDirectory, reference: RunDirectory) -> None:
    """The same losses at every step, and the same weights to the bit."""
    assert losses(run) == losses(reference)
    mine, theirs = (r.stage("cpt").manifest("model") for r in (run, reference))
    assert mine is not None
    assert theirs is not None
    assert manifest.content_digest(mine) == manifest.content_digest(theirs)


def test_undisturbed(reference: RunDirectory) -> None:
    values = losses(reference)
    assert sorted(values) == list(range(1, 61))
    assert values[60] < values[1] - 1.0
    progress = reference.progress()
    assert progress["phase"] == "succeeded"
    assert [s["phase"] for s in progress["stages"]] == ["finished", "finished"]
    assert progress["checkpoint"] == "step-00000060"
    folder = Path(reference.uri) / "stages/cpt"
    kept = sorted(p.name for p in (folder / "checkpoints").iterdir() if p.is_dir())
    assert kept == ["step-00000050", "step-00000060"]
    manifest.verify(folder / "model", full=True)
    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    assert model.dtype == torch.bfloat16
    assert AutoTokenizer.from_pretrained(folder / "model").chat_template
    assert "rank-0.log" in reference.stage("cpt").log_names()


def test_exported_model_has_the_validation_loss_of_the_engine(reference: RunDirectory) -> None:
    from astrosage.data.loader import PackedDataset
    from astrosage.runs import metrics
    from astrosage.train import model
    from astrosage.train.batches import flatten

    lines = metrics.read(reference.stage("cpt").storage)
    said = [m["validationLoss"] for m in lines if "validationLoss" in m][-1]
    folder = Path(reference.uri) / "stages"
    loaded = model.load(folder / "cpt/model", bf16=has_bf16(), activation_checkpointing=False)
    data = PackedDataset(folder / "corpus/shards", "validation")
    rows = data.rows(list(range(len(data))))
    batch = flatten(rows.tokens, rows.segments, rows.mask)
    with torch.no_grad():
        found = float(loaded(batch)) / len(batch.targets)
    assert found == pytest.approx(said, rel=2e-3)  # bf16 sums in other groups of rows


@pytest.mark.parametrize(
    ("stage", "workers"), [(0, 2), (1, 2), (2, 2), (3, 1)], ids=lambda v: str(v)
)
def test_every_zero_stage_and_world_size_learns_the_same(
    tmp_path: Path,
    tiny_model: Path,
    reference: RunDirectory,
    drivers: list[Driver],
    stage: int,
    workers: int,
) -> None:
    _, run = make_job(tmp_path, tiny_model, "other", workers, zero={"stage": stage}, maxSteps=20)
    drivers.append(Driver(run))
    drivers[-1].succeed()
    # The learning-rate schedule differs from the reference's after warm-up, so only the first
    # steps can be compared: same data, same loss.
    mine, theirs = losses(run), losses(reference)
    assert mine[1] == pytest.approx(theirs[1], rel=1e-3)
    assert mine[20] < mine[1] - 0.5
