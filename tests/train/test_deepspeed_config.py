import pytest

from astrosage.spec.stages import TrainSpec
from astrosage.train import deepspeed_config


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


def test_offload_and_stage_reach_deepspeed() -> None:
    zero = {"stage": 3, "offloadOptimizer": "cpu", "offloadParameters": "cpu"}
    config = deepspeed_config.build(spec(zero=zero), 2, 1, 1)["zero_optimization"]
    assert config["stage"] == 3
    assert config["offload_optimizer"]["device"] == "cpu"
    assert config["offload_param"]["device"] == "cpu"


def test_fp32_has_no_bf16_section() -> None:
    assert "bf16" not in deepspeed_config.build(spec(precision="fp32"), 2, 1, 1)
