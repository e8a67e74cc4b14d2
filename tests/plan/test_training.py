from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from astrosage.errors import SpecError, StorageError
from astrosage.plan import preflight
from astrosage.plan.machine import Machine
from astrosage.spec import graph
from astrosage.spec.job import AstroJob
from astrosage.spec.load import parse

HERE = Machine(cpus=64, gpus=0, memory=2**40)


def make(model: Path | str, train: dict[str, Any], workers: Any = 4) -> AstroJob:
    return parse(
        {
            "metadata": {"name": "run"},
            "spec": {
                "model": str(model),
                "storage": "s3://bucket/runs",
                "stages": [
                    {
                        "name": "corpus",
                        "prepare": {
                            "sources": [{"path": "s3://bucket/*.md"}],
                            "pack": {"sequenceLength": 64},
                        },
                    },
                    {
                        "name": "cpt",
                        "train": {
                            "objective": "cpt",
                            "data": "corpus",
                            "globalBatchSize": 24,
                            **train,
                        },
                    },
                ],
                "cluster": {"workers": workers},
            },
        }
    )


def check(job: AstroJob, machine: Machine | None = None) -> None:
    preflight.check(job, graph.order(job), machine=machine, storage=False, remote=False)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "phase without a step": (
        {"maxSteps": 5, "phases": [{"share": 99}, {"share": 1}]},
        ".phases[1].share: 1 of 100",
    ),
    "schedule that ends before it starts": ({"warmupRatio": 1.0}, ".warmupRatio: 1 leaves"),
    "option that the spec decides": (
        {"deepspeed": {"train_batch_size": 8}},
        ".deepspeed.train_batch_size: 8",
    ),
    "option that is none": (
        {"deepspeed": {"zero_optimization": {"overlap_com": True}}},
        ".deepspeed.zero_optimization.overlap_com:",
    ),
    "groups that workers do not fill": (
        {"zero": {"stage": 3, "hierarchicalPartition": 3}},
        ".zero.hierarchicalPartition: 4 workers",
    ),
    "adapter that matches nothing": (
        {"lora": {"targets": ["q_proj", "k_prj"]}},
        ".lora.targets[1]: `k_prj`",
    ),
}


@pytest.mark.parametrize(("train", "named"), WRONG.values(), ids=WRONG)
def test_what_can_be_seen_before_it_starts(
    train: dict[str, Any], named: str, tiny_model: Path
) -> None:
    with pytest.raises(SpecError) as caught:
        check(make(tiny_model, train))
    assert f"spec.stages[1].train{named}" in caught.value.message
    assert caught.value.hint


def test_good_ones_pass(tiny_model: Path) -> None:
    good = {
        "maxSteps": 100,
        "phases": [{"share": 99}, {"share": 1}],
        "schedule": "wsd",
        "deepspeed": {"zero_optimization": {"overlap_comm": True}},
        "zero": {"stage": 3, "hierarchicalPartition": 2},
        "lora": {"targets": ["q_proj", "mlp.up_proj"]},
    }
    check(make(tiny_model, good))


def test_groups_must_fit_the_most_workers(tiny_model: Path) -> None:
    train = {"zero": {"stage": 3, "hierarchicalPartition": 4}}
    check(make(tiny_model, train, workers={"min": 2, "max": 8}))
    with pytest.raises(SpecError, match="6 workers cannot be dealt into groups of 4"):
        check(make(tiny_model, train, workers={"min": 4, "max": 6}))


def test_fewest_workers_above_most() -> None:
    with pytest.raises(SpecError, match=r"spec\.cluster\.workers.*min 4 is above max 2"):
        make("smollm2-135m", {}, workers={"min": 4, "max": 2})


def test_adapters_of_models_that_cannot_be_read_are_left_to_the_worker() -> None:
    check(make("someone/model-8b", {"lora": {"targets": ["query_key_value"]}}))


def test_offload_is_looked_at_where_it_will_be(tiny_model: Path, tmp_path: Path) -> None:
    def offloading(path: Path) -> AstroJob:
        zero = {"stage": 3, "offloadOptimizer": "nvme", "nvmePath": str(path)}
        return make(tiny_model, {"zero": zero}, workers=1)

    with pytest.raises(StorageError, match=r"spec\.stages\[1\]\.train\.zero\.nvmePath: .*none"):
        check(offloading(tmp_path / "none"), HERE)
    check(offloading(tmp_path / "none"))
    check(offloading(tmp_path), HERE)
