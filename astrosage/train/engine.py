"""A DeepSpeed engine around the training model, on whatever devices the workers have."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from astrosage.spec.train import TrainSpec
from astrosage.train.model import TrainingModel


def initialize(model: TrainingModel, spec: TrainSpec, config: dict[str, Any]) -> Any:
    """Wrap the model; ``torch.distributed`` must be initialised.

    Args:
        model: Its sharded parameters stay as they are, others are sharded as the stage says.
        spec: AdamW's options.
        config: DeepSpeed's, from :func:`astrosage.train.deepspeed_config.build`.

    Returns:
        A ``deepspeed.DeepSpeedEngine`` with AdamW and fp32 master weights.
    """
    deepspeed = prepare()
    optimizer = torch.optim.AdamW(
        _parameter_groups(model, spec.weight_decay),
        lr=spec.learning_rate,
        betas=spec.betas,
        eps=spec.epsilon,
        fused=True,
    )
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
    return engine


def prepare() -> Any:
    """Import DeepSpeed and let it join the process group that is there; returns the module."""
    # DeepSpeed imports mpi4py and probes nvcc unless told that there is nothing to find.
    os.environ.setdefault("DS_SKIP_CUDA_CHECK", "1")
    # Its calls into torch.distributed use names that newer PyTorch warns of on every call.
    warnings.filterwarnings("ignore", category=FutureWarning, message=".*is deprecated.*")
    import deepspeed

    if not torch.cuda.is_available():
        _without_compiled_operators(deepspeed)
    backend = torch.distributed.get_backend()
    deepspeed.init_distributed(dist_backend=backend, verbose=False)
    return deepspeed


def step(engine: Any, *, last: bool) -> float | None:
    """Close a micro-batch; after the last one of a step, update the weights.

    Returns:
        After the last, the global gradient norm before clipping.
    """
    # DeepSpeed keeps no norm where neither its mixed precision nor ZeRO is in use.
    bare = last and isinstance(engine.optimizer, torch.optim.Optimizer)
    norm: Tensor | float | None = None
    if bare and hasattr(engine, "module"):
        gradients = [p.grad for p in engine.module.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients) if gradients else None
    engine.step()
    if not last:
        return None
    if norm is None:
        norm = engine.get_global_grad_norm()
    return None if norm is None else float(norm)


def _without_compiled_operators(deepspeed: Any) -> None:
    """Keep DeepSpeed from compiling C++ at run time; PyTorch's own operators do the work on a CPU.

    The table of operators that could be built is filled when first asked for, by running a
    compiler; an empty one in its place means that none is.
    """
    import deepspeed.ops as ops

    ops.__compatible_ops__ = {}


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices are decayed, norms and biases are not."""
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            # A sharded parameter looks empty and flat.
            shape = getattr(parameter, "ds_shape", parameter.shape)
            (decayed if len(shape) > 1 else others).append(parameter)
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


def agree_any(value: bool) -> bool:
    """Whether it is true on any rank."""
    return all_max(float(value)) > 0


def from_first(value: Any) -> Any:
    """Rank 0's value, on every rank; plain data."""
    box = [value]
    torch.distributed.broadcast_object_list(box, src=0)
    return box[0]


def _reduced(values: Sequence[float], operation: Any) -> list[float]:
    device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
    total = torch.tensor(values, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(total, op=operation)
    return [float(v) for v in total.tolist()]
