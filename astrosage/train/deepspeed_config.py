"""DeepSpeed's configuration, made from the spec: a pure function."""

from __future__ import annotations

from typing import Any

from astrosage.spec.stages import TrainSpec

# Parameters smaller than this stay whole on every rank under ZeRO-3: gathering a norm weight
# costs a round trip and saves nothing.
_PERSIST_BELOW_ELEMENTS = 100_000


def build(
    spec: TrainSpec, workers: int, micro_batch_size: int, accumulation_steps: int
) -> dict[str, Any]:
    """The configuration for ``deepspeed.initialize``.

    bf16 gradients are summed in fp32 wherever more than two numbers are added, over accumulation
    steps or over ranks; a sum of two is rounded once in either type.
    """
    zero: dict[str, Any] = {"stage": spec.zero.stage}
    if spec.zero.stage >= 1:
        zero |= {"overlap_comm": False, "contiguous_gradients": True}
    if spec.zero.stage == 3:
        zero |= {
            "stage3_param_persistence_threshold": _PERSIST_BELOW_ELEMENTS,
            "stage3_gather_16bit_weights_on_model_save": False,
        }
    if spec.zero.offload_optimizer == "cpu":
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    if spec.zero.offload_parameters == "cpu":
        zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": micro_batch_size,
        "gradient_accumulation_steps": accumulation_steps,
        "gradient_clipping": spec.gradient_clipping,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 2**31 - 1,  # progress is reported by the loop
        "wall_clock_breakdown": False,
    }
    if spec.precision == "bf16":
        config["bf16"] = {"enabled": True}
        if workers > 2:
            config["communication_data_type"] = "fp32"
        # Without sharding DeepSpeed has no fp32 accumulation.
        if accumulation_steps > 1 and spec.zero.stage > 0:
            config["data_types"] = {"grad_accum_dtype": "fp32"}
    return config


def micro_batch_size(spec: TrainSpec, workers: int, sequence_length: int) -> int:
    """Sequences a worker computes at once.

    The spec's, or else the largest divisor of the worker's share of the global batch that holds
    at most 4,096 tokens.
    """
    if spec.micro_batch_size is not None:
        return spec.micro_batch_size
    share = spec.global_batch_size // workers
    most = max(1, 4096 // sequence_length)
    return max(n for n in range(1, share + 1) if share % n == 0 and n <= most)
