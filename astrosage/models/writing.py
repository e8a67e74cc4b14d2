"""Write a Hugging Face directory tensor by tensor: safetensors shards, index, companions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from astrosage.errors import TrainingError
from astrosage.runs import manifest

MAX_SHARD_BYTES = 4 * 1024**3
INDEX = "model.safetensors.index.json"
_COPIED = ("*.json", "*.jinja", "*.model", "*.txt")
_NOT_COPIED = (INDEX, manifest.NAME, "config.json")


class ShardWriter:
    """Collects tensors and writes a shard whenever one is full.

    Never holds more than a shard.

    Args:
        folder: The model directory being written.
        max_shard_bytes: A shard's size; a larger tensor makes a shard of its own.
        dtype: The type that they are written in.
    """

    def __init__(
        self,
        folder: Path,
        max_shard_bytes: int = MAX_SHARD_BYTES,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        self._folder, self._limit, self._dtype = folder, max_shard_bytes, dtype
        self._tensors: dict[str, Tensor] = {}
        self._size = self._total = 0
        self._shards: list[list[str]] = []

    def add(self, name: str, tensor: Tensor) -> None:
        """Take a tensor, on any device, of any floating type.

        Raises:
            TrainingError: If it has values that are not finite.
        """
        if not tensor.isfinite().all():
            raise TrainingError(
                f"weight {name} has values that are not finite",
                "the model diverged or its source is damaged; lower `learningRate`, or fetch the "
                "source again",
            )
        held = tensor.detach().to("cpu", self._dtype, copy=True).contiguous()
        size = held.numel() * held.element_size()
        if self._tensors and self._size + size > self._limit:
            self._flush()
        self._tensors[name] = held
        self._size += size

    def finish(self) -> None:
        """Write what is left, give shards their final names, write the index."""
        self._flush()
        weight_map: dict[str, str] = {}
        for number, names in enumerate(self._shards, start=1):
            final = shard_name(number, len(self._shards))
            (self._folder / _part(number)).rename(self._folder / final)
            weight_map |= dict.fromkeys(names, final)
        write_index(self._folder, weight_map, self._total)

    def _flush(self) -> None:
        if not self._tensors:
            return
        target = self._folder / _part(len(self._shards) + 1)
        save_file(self._tensors, target, metadata={"format": "pt"})
        self._shards.append(list(self._tensors))
        self._total += self._size
        self._tensors, self._size = {}, 0


def shard_name(number: int, count: int) -> str:
    """What the ``number``-th of so many weight files is called, from 1."""
    return f"model-{number:05d}-of-{count:05d}.safetensors"


def write_index(folder: Path, weight_map: Mapping[str, str], size: int) -> None:
    """Say in which file each tensor is.

    Args:
        folder: The model directory.
        weight_map: Tensor to file.
        size: Bytes of all tensors.
    """
    index = {"metadata": {"total_size": size}, "weight_map": dict(weight_map)}
    (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


def _part(number: int) -> str:
    return f"part-{number:05d}.safetensors"


def copy_companions(source: Path, folder: Path, dtype: torch.dtype = torch.bfloat16) -> None:
    """Take over configuration, tokenizer and chat template; ``dtype`` is the weights' now."""
    for pattern in _COPIED:
        for file in source.glob(pattern):
            if file.name not in _NOT_COPIED:
                shutil.copyfile(file, folder / file.name)
    config = json.loads((source / "config.json").read_text())
    config.pop("torch_dtype", None)
    config["dtype"] = str(dtype).removeprefix("torch.")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
