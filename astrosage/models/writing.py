"""Write a Hugging Face directory tensor by tensor: safetensors shards, index, companions."""

from __future__ import annotations

import json
import shutil
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
    """Collects tensors as bf16 and writes a shard whenever one is full.

    Never holds more than a shard.

    Args:
        folder: The model directory being written.
        max_shard_bytes: A shard's size; a larger tensor makes a shard of its own.
    """

    def __init__(self, folder: Path, max_shard_bytes: int = MAX_SHARD_BYTES) -> None:
        self._folder, self._limit = folder, max_shard_bytes
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
        held = tensor.detach().to("cpu", torch.bfloat16, copy=True).contiguous()
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
            final = f"model-{number:05d}-of-{len(self._shards):05d}.safetensors"
            (self._folder / _part(number)).rename(self._folder / final)
            weight_map |= dict.fromkeys(names, final)
        index = {"metadata": {"total_size": self._total}, "weight_map": weight_map}
        (self._folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")

    def _flush(self) -> None:
        if not self._tensors:
            return
        target = self._folder / _part(len(self._shards) + 1)
        save_file(self._tensors, target, metadata={"format": "pt"})
        self._shards.append(list(self._tensors))
        self._total += self._size
        self._tensors, self._size = {}, 0


def _part(number: int) -> str:
    return f"part-{number:05d}.safetensors"


def copy_companions(source: Path, folder: Path) -> None:
    """Take over configuration, tokenizer and chat template; the weights are bf16 now."""
    for pattern in _COPIED:
        for file in source.glob(pattern):
            if file.name not in _NOT_COPIED:
                shutil.copyfile(file, folder / file.name)
    config = json.loads((source / "config.json").read_text())
    config.pop("torch_dtype", None)
    config["dtype"] = "bfloat16"
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
