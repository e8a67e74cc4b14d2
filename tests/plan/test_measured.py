from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from astrosage.errors import NotFoundError, SpecError
from astrosage.plan import measured
from astrosage.plan.accelerators import ACCELERATORS
from astrosage.plan.models import BUILT_IN
from astrosage.runs import manifest
from astrosage.runs.directory import RunDirectory
from astrosage.runs.metrics import MetricsWriter
from tests.plan.jobs import job


def run(folder: Path, steps: int = 9, mfu: float = 0.41, **training: Any) -> RunDirectory:
    """A run directory with metrics; the first two steps are slow."""
    made = job(
        folder,
        model="smollm2-135m",
        length=512,
        cluster={"workers": 2},
        train={"globalBatchSize": 8},
    )
    directory = RunDirectory.of(made)
    directory.create(made)
    stage = directory.stage("cpt").storage
    writer = MetricsWriter(stage)
    for step in range(1, steps + 1):
        writer.log(step, steps, "steps", tokensPerSecond=1.0 if step < 3 else 500.0, mfu=mfu)
        writer.log(step, steps, "steps", validationLoss=3.0)
    writer.close()
    if training:
        assert stage.local is not None
        (stage.local / "model").mkdir()
        manifest.write(stage.local / "model", key="k", training=training)
    return directory


def test_a_processor_is_planned_with_the_operations_it_did(tmp_path: Path) -> None:
    found = measured.rate(run(tmp_path), None, None)
    per_token = BUILT_IN["smollm2-135m"].flops(512, 512, 512 * 512) / 512
    assert found.flops == pytest.approx(500 * per_token / 2, rel=1e-6)
    assert found.known
    assert "7 steps" in found.source


def test_a_gpu_is_planned_with_the_share_of_the_peak_it_reached(tmp_path: Path) -> None:
    directory = run(tmp_path, workers=2, mfuPeak="A100 dense bf16 peak, 312 TFLOP/s")
    found = measured.rate(directory, "cpt", ACCELERATORS["H100"])
    assert found.mfu == 0.41
    assert found.flops == pytest.approx(0.41 * 989.4e12)


def test_a_processor_says_nothing_of_a_gpu(tmp_path: Path) -> None:
    directory = run(tmp_path, workers=2, mfuPeak="measured bf16 matrix product 2048x2048, 454")
    with pytest.raises(SpecError, match="did not train on a GPU"):
        measured.rate(directory, None, ACCELERATORS["H100"])


def test_two_steps_are_too_few(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no metrics of more than 2 steps"):
        measured.rate(run(tmp_path, steps=2), None, None)


def test_a_stage_that_does_not_train(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="has no train stage `corpus`"):
        measured.rate(run(tmp_path), "corpus", None)
