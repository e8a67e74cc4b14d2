"""DeepSpeed's configuration, made from the spec: a pure function."""

from __future__ import annotations

import math
from typing import Any

from astrosage.errors import SpecError
from astrosage.spec.train import OffloadTarget, TrainSpec
from astrosage.train import deepspeed_options

# Parameters smaller than this stay whole on every rank under ZeRO-3: gathering a norm weight
# costs a round trip and saves nothing.
_PERSIST_BELOW_ELEMENTS = 100_000
# A gradient bucket in flight and one being filled: 2 x 0.4 GB in bf16, twice that in fp32. On
# 1,024 ranks a rank's slice of a bucket is still 0.4 MB, enough for a network's full rate.
_BUCKET_ELEMENTS = 200_000_000
# DeepSpeed fetches ahead until it has this much and then ends the parameter it is at. Its own
# 50 million is a sixteenth of a 70B model's layer, too little to hide a gather between nodes.
_PREFETCH_ELEMENTS = 200_000_000
# 2 GB in bf16 of gathered parameters: a layer of a 70B model and the head of the next.
_LIVE_ELEMENTS = 1_000_000_000
# With states on NVMe the optimizer step goes through buffers of this many elements. Those of
# parameter, gradient and two moments are read, computed and written at once: 12 x 0.4 GB a rank.
_SUB_GROUP_ELEMENTS = 100_000_000
_ADAM_BUFFERS = 12
_NVME_PARAMETER_BUFFERS = 5
# DeepSpeed takes 1e8 elements for a buffer, which one embedding of a large vocabulary exceeds.
_NVME_BUFFER_ELEMENTS = 100_000_000
# A disk of the NVMe kind is at its rate only with many requests in flight.
_AIO = {
    "block_size": 1 << 20,
    "queue_depth": 32,
    "intra_op_parallelism": 4,
    "single_submit": False,
    "overlap_events": True,
}


def build(
    spec: TrainSpec,
    workers: int,
    micro_batch_size: int,
    accumulation_steps: int,
    *,
    cuda: bool = False,
    largest_parameter: int | None = None,
    where: str = "train",
) -> dict[str, Any]:
    """The configuration for ``deepspeed.initialize``.

    bf16 gradients are summed in fp32 wherever more than two numbers are added, over accumulation
    steps or over ranks; a sum of two is rounded once in either type.

    Args:
        spec: The stage.
        workers: The number of ranks.
        micro_batch_size: Sequences a rank computes at once.
        accumulation_steps: Micro-batches an optimizer step.
        cuda: Whether the ranks have GPUs.
        largest_parameter: Elements of the largest parameter; offload to NVMe needs a buffer that
            holds a rank's part of it.
        where: The stage's place in the run file, for messages.

    Raises:
        SpecError: If `deepspeed` or `zero` ask for what cannot be.
    """
    check(spec, where)
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": micro_batch_size,
        "gradient_accumulation_steps": accumulation_steps,
        "gradient_clipping": spec.gradient_clipping,
        "zero_optimization": _zero(spec, workers, cuda, largest_parameter),
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
    if "nvme" in (spec.zero.offload_optimizer, spec.zero.offload_parameters):
        config["aio"] = dict(_AIO)
    return deepspeed_options.merged(config, spec.deepspeed)


def _zero(
    spec: TrainSpec, workers: int, cuda: bool, largest_parameter: int | None
) -> dict[str, Any]:
    """The ``zero_optimization`` group."""
    wanted = spec.zero
    zero: dict[str, Any] = {"stage": wanted.stage}
    if wanted.stage >= 1:
        # A CPU's cores have nothing to spare for communication beside the backward pass.
        zero |= {"overlap_comm": cuda, "contiguous_gradients": True}
    if wanted.stage == 3:
        zero |= {
            "stage3_param_persistence_threshold": _PERSIST_BELOW_ELEMENTS,
            "stage3_gather_16bit_weights_on_model_save": False,
        }
    if cuda:
        zero |= _on_cuda(wanted.stage, offload=wanted.offload_optimizer != "none")
    # Elastic workers may come to a number that no group size divides.
    if wanted.hierarchical_partition and workers % wanted.hierarchical_partition == 0:
        zero["zero_hpz_partition_size"] = wanted.hierarchical_partition
    if wanted.offload_optimizer != "none":
        zero["offload_optimizer"] = _optimizer_offload(wanted.offload_optimizer, wanted.nvme_path)
        if wanted.offload_optimizer == "nvme":
            zero["sub_group_size"] = _SUB_GROUP_ELEMENTS
    if wanted.offload_parameters != "none":
        zero["offload_param"] = _parameter_offload(
            wanted.offload_parameters, wanted.nvme_path, workers, largest_parameter
        )
    return zero


def _on_cuda(stage: int, *, offload: bool) -> dict[str, Any]:
    """Sizes for GPUs; a bucket's memory is what hides its communication behind the compute."""
    if stage == 0:
        return {}
    zero: dict[str, Any] = {"reduce_scatter": True, "reduce_bucket_size": _BUCKET_ELEMENTS}
    if stage < 3:
        # Ranks copy different parts of a gradient to the host at the same time.
        return zero | {"allgather_bucket_size": _BUCKET_ELEMENTS, "round_robin_gradients": offload}
    return zero | {
        "stage3_prefetch_bucket_size": _PREFETCH_ELEMENTS,
        "stage3_max_live_parameters": _LIVE_ELEMENTS,
        # What the last layers gathered in the forward pass is used again at once in the backward.
        "stage3_max_reuse_distance": _LIVE_ELEMENTS,
    }


def _optimizer_offload(device: OffloadTarget, path: str | None) -> dict[str, Any]:
    if device == "cpu":
        return {"device": "cpu", "pin_memory": True}
    return {
        "device": "nvme",
        "nvme_path": path,
        "pin_memory": True,
        "buffer_count": _ADAM_BUFFERS,
        # The step is as slow as the disk; reading ahead and writing behind hide the arithmetic.
        "pipeline_read": True,
        "pipeline_write": True,
    }


def _parameter_offload(
    device: OffloadTarget, path: str | None, workers: int, largest: int | None
) -> dict[str, Any]:
    if device == "cpu":
        return {"device": "cpu", "pin_memory": True}
    part = math.ceil((largest or 0) / workers)
    return {
        "device": "nvme",
        "nvme_path": path,
        "pin_memory": True,
        "buffer_count": _NVME_PARAMETER_BUFFERS,
        "buffer_size": max(_NVME_BUFFER_ELEMENTS, part),
    }


def check(spec: TrainSpec, where: str = "train") -> None:
    """Refuse options and offload that DeepSpeed cannot do for this stage.

    Raises:
        SpecError: Naming the field, and what can be done.
    """
    deepspeed_options.check(spec, where)
    if spec.lora is not None and spec.zero.offload_parameters == "nvme":
        # It gives back the buffers of weights that are updated, and runs out of the others'.
        raise SpecError(
            f"{where}.zero.offloadParameters: nvme does not go together with `lora`: DeepSpeed "
            "cannot keep frozen weights there",
            "`cpu` can; the optimizer may be on nvme all the same",
        )


def check_hierarchy(spec: TrainSpec, workers: int, where: str = "train") -> None:
    """Refuse groups of workers that the workers cannot be dealt into.

    Raises:
        SpecError: Naming the sizes that fit.
    """
    size = spec.zero.hierarchical_partition
    if size is None or workers % size == 0:
        return
    fitting = [str(n) for n in range(2, workers + 1) if workers % n == 0]
    raise SpecError(
        f"{where}.zero.hierarchicalPartition: {workers} workers cannot be dealt into groups of "
        f"{size}",
        f"groups that fit {workers} workers: {', '.join(fitting)}" if fitting else "remove it",
    )


def micro_batch_size(spec: TrainSpec, workers: int, sequence_length: int) -> int:
    """Sequences a worker computes at once.

    The spec's, or else the largest divisor of the worker's share of the global batch that holds
    at most 4,096 tokens. Where the global batch cannot be shared out evenly (elastic workers), as
    many as 4,096 tokens hold.
    """
    share = -(-spec.global_batch_size // workers)
    if spec.micro_batch_size is not None:
        return min(spec.micro_batch_size, share)
    most = max(1, 4096 // sequence_length)
    if spec.global_batch_size % workers:
        return min(most, share)
    return max(n for n in range(1, share + 1) if share % n == 0 and n <= most)
