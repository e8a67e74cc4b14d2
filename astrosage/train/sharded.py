"""Building a model whose parameters are sharded from the start (ZeRO-3).

Each layer is sharded as soon as it is made, and then each rank reads its own part of every weight
from the safetensors files: no rank ever holds more than one layer beside its share, and together
the ranks read the files once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from astrosage.errors import TrainingError
from astrosage.models.writing import INDEX


@contextmanager
def building(config: dict[str, Any]) -> Iterator[None]:
    """A context in which models are made sharded, with weights that are not yet set.

    Args:
        config: DeepSpeed's configuration.
    """
    import deepspeed
    from transformers.initialization import no_init_weights

    with no_init_weights(), deepspeed.zero.Init(config_dict_or_path=config):
        yield


def fill(model: Any, folder: Path) -> None:
    """Set the weights of a model made in :func:`building` from a Hugging Face directory.

    Raises:
        TrainingError: If a weight is missing or has another shape.
    """
    from safetensors import safe_open

    model.tie_weights()  # left out while building, with all else that touches weights
    where = _places(folder)
    files: dict[str, Any] = {}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            file = where.get(name)
            if file is None:
                raise TrainingError(
                    f"{folder}: there is no weight {name}",
                    "check that its weights belong to its config.json",
                )
            if file not in files:
                files[file] = safe_open(folder / file, framework="pt")
            stored = files[file].get_slice(name)
            shape = tuple(stored.get_shape())
            if shape != tuple(parameter.ds_shape):
                raise TrainingError(
                    f"{folder}: weight {name} has shape {shape}, its config.json wants "
                    f"{tuple(parameter.ds_shape)}",
                    "check that its weights belong to its config.json",
                )
            _set(parameter, stored)


def largest_parameter(folder: Path) -> int:
    """Elements of the largest weight in a Hugging Face directory."""
    from safetensors import safe_open

    largest = 0
    for file in set(_places(folder).values()):
        with safe_open(folder / file, framework="pt") as opened:
            shapes = (opened.get_slice(name).get_shape() for name in opened.keys())  # noqa: SIM118
            largest = max(largest, *(math.prod(shape) for shape in shapes))
    return largest


def _places(folder: Path) -> dict[str, str]:
    """The file of each weight."""
    from safetensors import safe_open

    if (folder / INDEX).is_file():
        found: dict[str, str] = json.loads((folder / INDEX).read_text())["weight_map"]
        return found
    single = "model.safetensors"
    with safe_open(folder / single, framework="pt") as opened:
        return dict.fromkeys(opened.keys(), single)


def _set(parameter: Any, stored: Any) -> None:
    """Read this rank's part of a weight: whole rows around it, cut to fit."""
    from deepspeed.runtime.zero.partition_parameters import PartitionedParamStatus

    part: Tensor = parameter.ds_tensor
    on_disk = parameter.ds_tensor.status == PartitionedParamStatus.NOT_AVAILABLE
    if on_disk:  # offloaded to NVMe
        parameter.nvme_swapper.swap_in([parameter], async_op=False)
    length = part.numel()
    rank = torch.distributed.get_rank(group=parameter.ds_process_group)
    start = min(rank * length, parameter.ds_numel)
    end = min(start + length, parameter.ds_numel)
    row = parameter.ds_numel // parameter.ds_shape[0]
    first = start // row
    values = stored[first : -(-end // row)].reshape(-1)
    part.zero_()
    part[: end - start].copy_(values[start - first * row : end - first * row])
    # With hierarchical partitioning a second copy was made of what was not set yet; the next
    # gathering makes it anew.
    parameter.ds_secondary_tensor = None
    if on_disk:
        parameter.nvme_swapper.swap_out_and_release([parameter])
