"""A DeepSpeed engine around the training model, on whatever devices the workers have."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from astrosage.spec.stages import TrainSpec
from astrosage.train import deepspeed_config
from astrosage.train.model import TrainingModel


def initialize(
    model: TrainingModel, spec: TrainSpec, micro_batch_size: int, accumulation_steps: int
) -> Any:
    """Wrap the model; ``torch.distributed`` must be initialised.

    Returns:
        A ``deepspeed.DeepSpeedEngine`` with AdamW and fp32 master weights.
    """
    # DeepSpeed imports mpi4py and probes nvcc unless told that there is nothing to find.
    os.environ.setdefault("DS_SKIP_CUDA_CHECK", "1")
    # Its calls into torch.distributed use names that newer PyTorch warns of on every call.
    warnings.filterwarnings("ignore", category=FutureWarning, message=".*is deprecated.*")
    import deepspeed

    if not torch.cuda.is_available():
        _without_compiled_operators(deepspeed)
    backend = torch.distributed.get_backend()
    deepspeed.init_distributed(dist_backend=backend, verbose=False)
    optimizer = torch.optim.AdamW(
        _parameter_groups(model, spec.weight_decay),
        lr=spec.learning_rate,
        betas=spec.betas,
        eps=spec.epsilon,
        fused=True,
    )
    workers = torch.distributed.get_world_size()
    config = deepspeed_config.build(spec, workers, micro_batch_size, accumulation_steps)
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
    return engine


def _without_compiled_operators(deepspeed: Any) -> None:
    """Keep DeepSpeed from compiling C++ at run time; PyTorch's own operators do the work on a CPU.

    The table of operators that could be built is filled when first asked for, by running a
    compiler; an empty one in its place means that none is.
    """
    import deepspeed.ops as ops

    ops.__compatible_ops__ = {}


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices are decayed, norms and biases are not."""
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return [g for g in groups if g["params"]]


def set_learning_rate(engine: Any, value: float) -> None:
    """Set the rate of the next optimizer step."""
    for group in engine.optimizer.param_groups:
        group["lr"] = value


def gathered(parameters: list[nn.Parameter], zero_stage: int) -> Any:
    """A context in which sharded parameters are whole on every rank."""
    import deepspeed

    return deepspeed.zero.GatheredParameters(
        parameters, modifier_rank=None, enabled=zero_stage == 3
    )


def all_sum(*values: float) -> list[float]:
    """Sums over all ranks, in fp64."""
    return _reduced(values, torch.distributed.ReduceOp.SUM)


def all_max(value: float) -> float:
    """The largest over all ranks."""
    return _reduced([value], torch.distributed.ReduceOp.MAX)[0]


def _reduced(values: Sequence[float], operation: Any) -> list[float]:
    device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
    total = torch.tensor(values, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(total, op=operation)
    return [float(v) for v in total.tolist()]


def as_float(value: Tensor | float | None) -> float | None:
    """A plain number from what DeepSpeed gives as a gradient norm."""
    return None if value is None else float(value)
