from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from astrosage.errors import SpecError
from astrosage.plan import stages
from astrosage.plan.accelerators import find
from astrosage.plan.document import document
from astrosage.plan.machine import Machine
from astrosage.plan.stages import Assumptions, StagePlan
from tests.plan.jobs import job
from tests.plan.test_cost import pool

GIB = 2**30
H100 = Assumptions(accelerator=find("H100"), tokens={"": 1e9}, price_per_gpu_hour=2.0)


def only(folder: Path, given: Assumptions = H100, **fields: Any) -> StagePlan:
    (plan,) = stages.plan(job(folder, **fields), given)
    return plan


def test_time_and_money_follow_from_the_mfu(tmp_path: Path) -> None:
    plan = only(tmp_path, replace(H100, mfu=0.4))
    assert plan.work.steps == round(1e9 / 8192 / 64)
    flops = plan.work.step_flops / plan.work.step_tokens
    assert plan.hours == pytest.approx(
        plan.work.steps * 64 * 8192 * flops / (8 * 0.4 * 989.4e12) / 3600
    )
    assert plan.gpu_hours == pytest.approx(8 * plan.hours)
    assert plan.usd == pytest.approx(2.0 * plan.gpu_hours)


def test_memory_is_planned_for_the_fewest_workers_and_time_for_the_most(tmp_path: Path) -> None:
    elastic = {"workers": {"min": 16, "max": 64}, "resourcesPerWorker": {"gpu": 1}}
    plan = only(tmp_path, cluster=elastic)
    fixed = only(tmp_path, cluster={**elastic, "workers": 16})
    assert plan.by_stage == fixed.by_stage
    assert plan.slowest == fixed.pace
    assert plan.workers == 64
    assert plan.slowest is not None
    assert plan.pace is not None
    assert plan.pace.step_seconds < plan.slowest.step_seconds
    assert any("elastic" in note for note in plan.notes)


def test_gpus_are_those_of_the_pool(tmp_path: Path) -> None:
    pools = {"h100": pool(accelerator="H100", pricePerHour=40)}
    cluster = {"workers": 16, "pool": "h100", "resourcesPerWorker": {"gpu": 1}}
    plan = only(tmp_path, Assumptions(pools=pools, tokens={"cpt": 1e9}), cluster=cluster)
    assert plan.accelerator is find("H100")
    assert plan.price.hourly == 80


def test_without_a_gpus_name_memory_is_known_and_time_is_not(tmp_path: Path) -> None:
    plan = only(tmp_path, Assumptions())
    assert plan.fits is None
    assert plan.pace is None
    assert plan.peak.total > 20 * GIB
    assert "no time: give --accelerator" in plan.notes


def test_a_processor_has_what_it_asks_for_or_its_part_of_this_machine(tmp_path: Path) -> None:
    small: dict[str, Any] = {"model": "smollm2-135m", "length": 512}
    here = Assumptions(machine=Machine(cpus=2, gpus=0, memory=24 * GIB))
    plan = only(tmp_path, here, **small, cluster={"workers": 2})
    assert (plan.limit, plan.fits) == (12 * GIB, True)
    asked = {"workers": 2, "resourcesPerWorker": {"memory": "2Gi"}}
    plan = only(tmp_path, here, **small, cluster=asked)
    assert (plan.limit, plan.fits) == (2 * GIB, False)
    assert plan.advice[0].needed


def test_checkpoints_hold_what_is_trained(tmp_path: Path) -> None:
    whole = only(tmp_path, train={"checkpoint": {"keep": 3, "keepBest": 1}})
    assert whole.checkpoint == 12 * 8_030_261_248
    assert whole.checkpoints == 4
    assert whole.checkpoint_seconds == pytest.approx(whole.checkpoint / 1e9)
    assert whole.export == 2 * 8_030_261_248
    adapters = only(tmp_path, train={"lora": {"rank": 8}})
    assert adapters.checkpoint == 12 * adapters.setup.trained
    assert adapters.export == whole.export


def test_an_estimate_says_that_it_is_one(tmp_path: Path) -> None:
    plan = only(tmp_path, Assumptions(accelerator=find("H100")))
    assert plan.work.rows.estimated
    assert any("estimate" in note for note in plan.notes)
    capped = only(tmp_path, Assumptions(accelerator=find("H100")), train={"maxSteps": 5})
    assert not any("estimate" in note for note in capped.notes)


def test_the_document_sums_up_what_is_known(tmp_path: Path) -> None:
    plan = only(tmp_path)
    told = document([plan, plan])
    assert told["total"]["gpuHours"] == pytest.approx(2 * (plan.gpu_hours or 0))
    assert [s["zeroStage"] for s in told["stages"][0]["memory"]["byZeroStage"]] == [0, 1, 2, 3]
    unknown = only(tmp_path, Assumptions())
    assert document([plan, unknown])["total"]["usd"] is None


@pytest.mark.parametrize(
    ("given", "fields", "words"),
    [
        (H100, {"length": 262_144}, "262144 is over the 131072 positions"),
        (H100, {"cluster": {"workers": 8}}, r"spec\.cluster\.resourcesPerWorker\.gpu is 0"),
        (replace(H100, tokens={"sft": 1.0}), {}, "there is no train stage `sft`"),
        (Assumptions(pools={"h100": pool()}), {}, r"spec\.cluster names no pool"),
        (
            H100,
            {"train": {"zero": {"stage": 3, "hierarchicalPartition": 3}}},
            r"spec\.stages\[1\]\.train\.zero\.hierarchicalPartition",
        ),
        (
            H100,
            {"train": {"deepspeed": {"train_batch_size": 5}}},
            r"spec\.stages\[1\]\.train\.deepspeed\.train_batch_size",
        ),
        (H100, {"train": {"lora": {"targets": ["no_proj"]}}}, "no_proj"),
        (
            Assumptions(pools={"cpu": pool(gpusPerNode=0)}),
            {"cluster": {"workers": 8, "pool": "cpu", "resourcesPerWorker": {"gpu": 1}}},
            "pool cpu have no GPUs",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, given: Assumptions, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(SpecError, match=words):
        only(tmp_path, given, **fields)


def test_a_batch_that_cannot_be_dealt_out_is_refused(tmp_path: Path) -> None:
    cluster = {"workers": 7, "resourcesPerWorker": {"gpu": 1}}
    with pytest.raises(SpecError, match="globalBatchSize: 64 is not divisible by 7 workers"):
        only(tmp_path, cluster=cluster)


def test_a_run_without_training_has_no_plan(tmp_path: Path) -> None:
    made = job(tmp_path)
    del made.spec.stages[1]
    with pytest.raises(SpecError, match="no train stage to plan"):
        stages.plan(made, H100)
