from pathlib import Path
from typing import Any

import pytest

from astrosage.errors import SpecError, StorageError
from astrosage.spec.stages import TrainSpec
from astrosage.train import deepspeed_config, deepspeed_names, deepspeed_options, offload


def spec(**options: object) -> TrainSpec:
    return TrainSpec.model_validate({"objective": "cpt", "data": "d", **options})


@pytest.mark.parametrize(
    ("workers", "length", "batch", "expected"),
    [(1, 512, 8, 8), (2, 512, 8, 4), (1, 512, 24, 8), (2, 512, 14, 7), (1, 8192, 4, 1)],
)
def test_micro_batch_is_the_largest_divisor_of_a_share_that_holds_4096_tokens(
    workers: int, length: int, batch: int, expected: int
) -> None:
    s = spec(globalBatchSize=batch)
    assert deepspeed_config.micro_batch_size(s, workers, length) == expected


def test_micro_batch_of_the_spec_is_kept() -> None:
    assert deepspeed_config.micro_batch_size(spec(microBatchSize=1), 2, 16) == 1


@pytest.mark.parametrize(
    ("workers", "accumulation", "communication", "gradients"),
    [(1, 1, None, None), (2, 1, None, None), (2, 4, None, "fp32"), (8, 1, "fp32", None)],
)
def test_sums_of_more_than_two_are_fp32(
    workers: int, accumulation: int, communication: str | None, gradients: str | None
) -> None:
    config = deepspeed_config.build(spec(), workers, 1, accumulation)
    assert config.get("communication_data_type") == communication
    assert config.get("data_types", {}).get("grad_accum_dtype") == gradients


def zero_of(stage: dict[str, Any], **options: Any) -> dict[str, Any]:
    config = deepspeed_config.build(spec(zero=stage), 4, 1, 1, **options)
    zero: dict[str, Any] = config["zero_optimization"]
    return zero


def test_offload_and_stage_reach_deepspeed() -> None:
    config = zero_of({"stage": 3, "offloadOptimizer": "cpu", "offloadParameters": "cpu"})
    assert config["stage"] == 3
    assert config["offload_optimizer"]["device"] == "cpu"
    assert config["offload_param"]["device"] == "cpu"


NVME = {
    "stage": 3,
    "offloadOptimizer": "nvme",
    "offloadParameters": "nvme",
    "nvmePath": "/mnt/disk",
}


def test_offload_to_nvme_has_a_folder_buffers_and_requests() -> None:
    config = deepspeed_config.build(spec(zero=NVME), 4, 1, 1, largest_parameter=10**9)
    zero = config["zero_optimization"]
    assert zero["offload_optimizer"]["nvme_path"] == "/mnt/disk"
    # Adam's parameter, gradient and two moments: read, computed and written.
    assert zero["offload_optimizer"]["buffer_count"] >= 3 * 4
    assert zero["offload_param"]["nvme_path"] == "/mnt/disk"
    assert zero["offload_param"]["buffer_size"] == 250_000_000
    assert config["aio"]["queue_depth"] > 1
    assert "aio" not in deepspeed_config.build(spec(), 4, 1, 1)


def test_values_for_cpus_are_those_that_were_measured() -> None:
    assert zero_of({"stage": 3}) == {
        "stage": 3,
        "overlap_comm": False,
        "contiguous_gradients": True,
        "stage3_param_persistence_threshold": 100_000,
        "stage3_gather_16bit_weights_on_model_save": False,
    }


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_gpus_communicate_beside_the_backward_pass(stage: int) -> None:
    zero = zero_of({"stage": stage}, cuda=True)
    assert zero["overlap_comm"]
    assert zero["contiguous_gradients"]
    assert zero["reduce_bucket_size"] > 0
    assert ("stage3_prefetch_bucket_size" in zero) == (stage == 3)
    assert "reduce_bucket_size" not in zero_of({"stage": 0}, cuda=True)


def test_groups_of_workers_are_those_of_hpz() -> None:
    assert zero_of({"stage": 3, "hierarchicalPartition": 2})["zero_hpz_partition_size"] == 2
    three = {"stage": 3, "hierarchicalPartition": 3}
    assert "zero_hpz_partition_size" not in zero_of(three), "elastic workers may come to any number"
    with pytest.raises(SpecError, match=r"s\.zero\.hierarchicalPartition: 4 workers .* of 3"):
        deepspeed_config.check_hierarchy(spec(zero=three), 4, "s")


def test_fp32_has_no_bf16_section() -> None:
    assert "bf16" not in deepspeed_config.build(spec(precision="fp32"), 2, 1, 1)


def test_options_are_merged_deeply() -> None:
    options = {
        "zero_optimization": {
            "overlap_comm": True,
            "param_persistence_threshold": 7,
            "offload_optimizer": {"pin_memory": False},
            "leaf_module": {"names": ["x"]},
        },
        "wall_clock_breakdown": True,
        "bf16": {"immediate_grad_update": False},
    }
    zero = {"stage": 3, "offloadOptimizer": "cpu"}
    config = deepspeed_config.build(spec(zero=zero, deepspeed=options), 1, 2, 3)
    assert config["wall_clock_breakdown"] is True
    assert config["train_micro_batch_size_per_gpu"] == 2
    assert config["bf16"] == {"enabled": True, "immediate_grad_update": False}
    found = config["zero_optimization"]
    assert found["stage"] == 3
    assert found["overlap_comm"] is True
    # DeepSpeed has two names for this one; only one of them may be there.
    assert found["stage3_param_persistence_threshold"] == 7
    assert "param_persistence_threshold" not in found
    assert found["offload_optimizer"] == {"device": "cpu", "pin_memory": False}
    assert found["leaf_module"] == {"names": ["x"]}


@pytest.mark.parametrize(
    ("options", "path", "instead"),
    [
        ({"train_batch_size": 4}, "train_batch_size", "globalBatchSize"),
        ({"train_micro_batch_size_per_gpu": 4}, "train_micro_batch_size_per_gpu", "microBatchSize"),
        ({"gradient_accumulation_steps": 4}, "gradient_accumulation_steps", "globalBatchSize"),
        ({"gradient_clipping": 0.5}, "gradient_clipping", "gradientClipping"),
        ({"bf16": {"enabled": False}}, "bf16.enabled", "precision"),
        ({"fp16": {"enabled": True}}, "fp16", "precision"),
        ({"optimizer": {"type": "Adam"}}, "optimizer", "learningRate"),
        ({"scheduler": {"type": "WarmupLR"}}, "scheduler", "schedule"),
        ({"zero_optimization": {"stage": 2}}, "zero_optimization.stage", "zero.stage"),
        (
            {"zero_optimization": {"offload_optimizer": {"device": "cpu"}}},
            "zero_optimization.offload_optimizer.device",
            "zero.offloadOptimizer",
        ),
        (
            {"zero_optimization": {"zero_hpz_partition_size": 2}},
            "zero_optimization.zero_hpz_partition_size",
            "zero.hierarchicalPartition",
        ),
        ({"activation_checkpointing": {}}, "activation_checkpointing", "activationCheckpointing"),
        ({"checkpoint": {"load_universal": True}}, "checkpoint", "checkpoint"),
        ({"wandb": {"enabled": True}}, "wandb", "tracking"),
    ],
)
def test_what_the_spec_decides_is_not_said_twice(
    options: dict[str, Any], path: str, instead: str
) -> None:
    with pytest.raises(SpecError) as caught:
        deepspeed_options.check(spec(deepspeed=options), "spec.stages[1].train")
    assert f"spec.stages[1].train.deepspeed.{path}:" in caught.value.message
    assert f"`{instead}" in caught.value.hint


@pytest.mark.parametrize(
    ("options", "path", "hint"),
    [
        ({"wall_clock_breakdwn": True}, "wall_clock_breakdwn", "did you mean `wall_clock_b"),
        ({"gradient_cliping": 1.0}, "gradient_cliping", "`gradientClipping`"),
        ({"nebula": {}}, "nebula", "allowed: aio, "),
        (
            {"zero_optimization": {"reduce_bucket": 5}},
            "zero_optimization.reduce_bucket",
            "did you mean `reduce_bucket_size`",
        ),
        ({"aio": {"queue_dept": 5}}, "aio.queue_dept", "did you mean `queue_depth`"),
        ({"zero_optimization": True}, "zero_optimization", "its options"),
        (
            {"zero_optimization": {"offload_param": {"buffer_size": 1}}},
            "zero_optimization.offload_param",
            "zero.offloadParameters",
        ),
    ],
)
def test_options_that_are_none(options: dict[str, Any], path: str, hint: str) -> None:
    with pytest.raises(SpecError) as caught:
        deepspeed_config.build(spec(deepspeed=options), 1, 1, 1, where="here")
    assert f"here.deepspeed.{path}:" in caught.value.message
    assert hint in caught.value.hint


def test_names_are_those_of_the_deepspeed_that_is_installed() -> None:
    from deepspeed.comm.config import CommsLoggerConfig
    from deepspeed.profiling.config import DeepSpeedFlopsProfilerConfig
    from deepspeed.runtime.precision_config import DeepSpeedBF16Config
    from deepspeed.runtime.swap_tensor.aio_config import AIO_DEFAULT_DICT
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig
    from deepspeed.runtime.zero.offload_config import (
        DeepSpeedZeroOffloadOptimizerConfig,
        DeepSpeedZeroOffloadParamConfig,
    )

    def names(model: Any) -> set[str]:
        aliases = {f.alias for f in model.model_fields.values() if f.alias}
        return set(model.model_fields) | aliases

    groups = deepspeed_names.GROUPS
    assert groups["zero_optimization"] == names(DeepSpeedZeroConfig)
    assert groups["zero_optimization.offload_param"] == names(DeepSpeedZeroOffloadParamConfig)
    assert groups["zero_optimization.offload_optimizer"] == names(
        DeepSpeedZeroOffloadOptimizerConfig
    )
    assert groups["bf16"] == names(DeepSpeedBF16Config)
    assert groups["aio"] == set(AIO_DEFAULT_DICT)
    assert groups["comms_logger"] == names(CommsLoggerConfig)
    assert groups["flops_profiler"] == set(vars(DeepSpeedFlopsProfilerConfig({})))


def test_every_name_at_the_top_is_read_by_deepspeed() -> None:
    import deepspeed

    folder = Path(deepspeed.__file__).parent
    source = "".join(
        p.read_text()
        for part in ("runtime", "comm", "monitor", "profiling", "autotuning", "utils")
        for p in (folder / part).rglob("*.py")
        if p.name in ("config.py", "constants.py", "precision_config.py", "aio_config.py")
    )
    for name in deepspeed_names.GROUPS[""]:
        assert f'"{name}"' in source or f"'{name}'" in source, name


def test_what_is_decided_is_a_name() -> None:
    for path in deepspeed_names.DECIDED:
        group, _, name = path.rpartition(".")
        assert name in deepspeed_names.GROUPS[group], path


def test_offload_to_a_folder_that_is_not_there(tmp_path: Path) -> None:
    missing = spec(zero={**NVME, "nvmePath": str(tmp_path / "none")})
    with pytest.raises(StorageError, match=r"s\.zero\.nvmePath: .*none does not exist on node "):
        offload.check(missing, "s")
    assert not (tmp_path / "none").exists()
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(StorageError, match="is not a folder"):
        offload.check(spec(zero={**NVME, "nvmePath": str(file)}))
    with pytest.raises(StorageError, match="cannot be written on node"):
        offload.check(spec(zero={**NVME, "nvmePath": "/proc"}))
    offload.check(spec(zero={**NVME, "nvmePath": str(tmp_path)}))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    offload.check(spec())


@pytest.mark.parametrize("cuda", [False, True])
@pytest.mark.parametrize(
    "stage",
    [
        {"stage": 0},
        {"stage": 1, "offloadOptimizer": "cpu"},
        {"stage": 2},
        {"stage": 3, "hierarchicalPartition": 2, "offloadParameters": "cpu"},
        NVME,
    ],
)
def test_deepspeed_takes_what_is_made(stage: dict[str, Any], cuda: bool) -> None:
    from deepspeed.runtime.swap_tensor.aio_config import get_aio_config
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    config = deepspeed_config.build(spec(zero=stage), 4, 1, 1, cuda=cuda)
    taken = DeepSpeedZeroConfig(**config["zero_optimization"])
    assert taken.stage == stage["stage"]
    assert bool(taken.overlap_comm) == (cuda and stage["stage"] > 0)
    if "aio" in config:
        assert get_aio_config(config) == {**config["aio"], "use_gds": False}


def test_frozen_weights_cannot_be_on_nvme() -> None:
    with pytest.raises(SpecError, match=r"s\.zero\.offloadParameters: nvme .* `lora`"):
        deepspeed_config.check(spec(zero=NVME, lora={}), "s")
    deepspeed_config.check(spec(zero={**NVME, "offloadParameters": "cpu"}, lora={}))
