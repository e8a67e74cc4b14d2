"""What must outlive a training run, as named slices of flat parameters.

However an optimizer shards its fp32 master weights and Adam moments, each rank's part of a
parameter is a range of its elements. A checkpoint of such ranges can be read back by any number of
workers and under any ZeRO stage, without converting it first; DeepSpeed's own checkpoints are bound
to both (its universal format is a conversion that needs the space of a second checkpoint).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

MASTER = "master"
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Slice:
    """One rank's part of one parameter.

    Attributes:
        name: The parameter's name in the Hugging Face model.
        shape: The whole parameter's.
        start: First element of the flattened parameter.
        values: ``[n]`` fp32 views of the optimizer's own memory: ``master``, ``exp_avg``,
            ``exp_avg_sq``. Writing to them changes the optimizer.
    """

    name: str
    shape: tuple[int, ...]
    start: int
    values: dict[str, Tensor] = field(repr=False)

    @property
    def numel(self) -> int:
        """Elements in this part."""
        return self.values[MASTER].numel()


def slices(engine: Any, model: nn.Module, *, whole: bool = False) -> Iterator[Slice]:
    """This rank's slices, parameter by parameter; only what is trained.

    Args:
        engine: A DeepSpeed engine (any ZeRO stage) or a
            :class:`~astrosage.train.plain.PlainEngine`.
        model: The Hugging Face model inside it, whose parameters give the names.
        whole: Where every rank has everything, give all of it (to read it back) and not this
            rank's share (to write it).

    Yields:
        Slices whose tensors are valid until the next one is asked for (with NVMe offload they are
        read in for that time, and written back).
    """
    optimizer = engine.optimizer
    names = {p: name for name, p in model.named_parameters() if p.requires_grad}
    kind = type(optimizer).__name__
    if kind == "DeepSpeedZeroOptimizer_Stage3":
        yield from _stage_3(optimizer, names)
    elif hasattr(optimizer, "single_partition_of_fp32_groups"):  # ZeRO 1 and 2
        yield from _partitioned(optimizer, optimizer.single_partition_of_fp32_groups, names)
    elif hasattr(optimizer, "fp32_groups_flat_partition"):  # ZeRO 1 with fp32 accumulation
        yield from _partitioned(optimizer, optimizer.fp32_groups_flat_partition, names)
    else:
        yield from _replicated(optimizer, names, whole)


def shapes(model: nn.Module) -> dict[str, list[int]]:
    """The whole shape of every trained parameter, by name."""
    return {
        name: list(getattr(parameter, "ds_shape", parameter.shape))
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def set_step(engine: Any, step: int) -> None:
    """Tell Adam how many updates it has made; its bias correction depends on it."""
    optimizer = getattr(engine.optimizer, "optimizer", engine.optimizer)
    for state in optimizer.state.values():
        if "step" in state:
            state["step"] = torch.full_like(
                torch.as_tensor(state["step"], dtype=torch.float32), step
            )


def publish(engine: Any) -> None:
    """Make the model's weights those of the master weights, after these were written.

    Collective: every rank must call it.
    """
    optimizer = engine.optimizer
    if type(optimizer).__name__ == "DeepSpeedZeroOptimizer_Stage3":
        kept = optimizer.persistent_parameters
        if kept:
            kept[0].partition(kept)
        for group in range(len(optimizer.fp16_groups)):
            if not optimizer._swappable_optimizer_subgroup(group):
                optimizer._reassign_or_swap_out_partitioned_parameters(group)
        # Copies made by hierarchical partitioning are of the weights before.
        optimizer.invalidate_secondary_tensor()
        if kept:
            kept[0].all_gather(kept)
    elif hasattr(optimizer, "update_lp_params"):
        optimizer.update_lp_params()
    else:
        with torch.no_grad():
            for low, high in _pairs(optimizer):
                if low is not high:
                    low.data.copy_(high.data)


def _stage_3(optimizer: Any, names: dict[nn.Parameter, str]) -> Iterator[Slice]:
    for group, parameters in enumerate(optimizer.fp16_groups):
        swapped = optimizer._swappable_optimizer_subgroup(group)
        if swapped:
            optimizer._optimizer_states_and_gradient_swap_in(group)
        flat = optimizer.fp32_partitioned_groups_flat[group]
        state = _moments(optimizer.optimizer, flat)
        for parameter in parameters:
            _, offset, length = optimizer.grad_position[optimizer.get_param_id(parameter)]
            start = optimizer._get_param_partition_rank(parameter) * length
            # The last rank's part is filled up with zeros that belong to no parameter.
            real = max(0, min(length, parameter.ds_numel - start))
            yield Slice(
                names[parameter],
                tuple(parameter.ds_shape),
                min(start, parameter.ds_numel),
                _views(flat, state, offset, real),
            )
        if swapped:
            optimizer._optimizer_states_and_gradient_swap_out(group)


def _partitioned(
    optimizer: Any, flats: list[Tensor], names: dict[nn.Parameter, str]
) -> Iterator[Slice]:
    groups = getattr(optimizer, "bit16_groups", None) or optimizer.bf16_groups
    for flat, parameters in zip(flats, groups, strict=True):
        state = _moments(optimizer.optimizer, flat)
        for parameter in parameters:
            mapping = parameter._hp_mapping
            if mapping is None:  # no part of it is this rank's
                continue
            here = mapping.hp_fragment_address
            yield Slice(
                names[parameter],
                tuple(parameter.shape),
                mapping.lp_fragment_address.start,
                _views(flat, state, here.start, here.numel),
            )


def _replicated(optimizer: Any, names: dict[nn.Parameter, str], whole: bool) -> Iterator[Slice]:
    """Every rank has everything; each gives an equal share, so that none writes it all."""
    rank, workers = 0, 1
    if not whole and torch.distributed.is_initialized():
        rank, workers = torch.distributed.get_rank(), torch.distributed.get_world_size()
    inner = getattr(optimizer, "optimizer", optimizer)
    for low, high in _pairs(optimizer):
        state = _moments(inner, high)
        share = -(-high.numel() // workers)
        start = min(rank * share, high.numel())
        length = min(share, high.numel() - start)
        yield Slice(
            names[low], tuple(low.shape), start, _views(high.view(-1), state, start, length)
        )


def _pairs(optimizer: Any) -> Iterator[tuple[nn.Parameter, Tensor]]:
    """``(parameter, its fp32 master weights)`` of an optimizer that shards nothing."""
    if hasattr(optimizer, "fp32_groups"):
        for lows, highs in zip(optimizer.fp16_groups, optimizer.fp32_groups, strict=True):
            yield from zip(lows, highs, strict=True)
    else:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                yield getattr(parameter, "low", parameter), parameter


def _moments(optimizer: Any, flat: Tensor) -> dict[str, Tensor]:
    """Adam's moments of a flat tensor, made where no update was done yet."""
    state: dict[str, Tensor] = optimizer.state[flat]
    if not state:
        state["step"] = torch.zeros((), dtype=torch.float32, device=flat.device)
        for key in MOMENTS:
            state[key] = torch.zeros_like(flat)
    return state


def _views(flat: Tensor, state: dict[str, Tensor], start: int, length: int) -> dict[str, Tensor]:
    whole = {MASTER: flat.detach(), **{key: state[key].view(-1) for key in MOMENTS}}
    return {key: value.view(-1).narrow(0, start, length) for key, value in whole.items()}
