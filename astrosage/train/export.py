"""From a trained, possibly sharded engine to a Hugging Face directory.

Weights are gathered one output shard at a time, so that no rank ever needs more than a shard
beside its own part of the model.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from astrosage.context import StageContext
from astrosage.errors import TrainingError
from astrosage.runs import manifest
from astrosage.train.engine import gathered

MAX_SHARD_BYTES = 4 * 1024**3
INDEX = "model.safetensors.index.json"
_COPIED = ("*.json", "*.jinja", "*.model", "*.txt")
_NOT_COPIED = (INDEX, manifest.NAME, "config.json", "trainer_state.json")


def export(
    engine: Any, context: StageContext, source: Path, *, zero_stage: int, rank: int, **facts: Any
) -> None:
    """Write the stage's ``model/``: bf16 safetensors with index, configuration and tokenizer.

    Every rank must call it; rank 0 writes.

    Args:
        engine: The DeepSpeed engine around a :class:`~astrosage.train.model.TrainingModel`.
        context: The stage.
        source: The directory that the model came from; its tokenizer and configuration are kept.
        zero_stage: How the engine shards.
        rank: This worker.
        facts: Further plain data for the manifest.
    """
    model = engine.module.model
    storage = context.directory.storage
    with storage.writing("model") if rank == 0 else nullcontext() as folder:
        write_weights(model, folder, zero_stage)
        if folder is not None:
            copy_companions(source, folder)
            manifest.write(folder, key=context.key, **facts)
    torch.distributed.barrier()


def write_weights(model: nn.Module, folder: Path | None, zero_stage: int) -> None:
    """Gather and write all parameters; ranks without a folder only take part in the gathering."""
    from safetensors.torch import save_file

    shards = list(_shards(model))
    weight_map: dict[str, str] = {}
    total = 0
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        tensors: dict[str, Tensor] = {}
        for key, parameter in shard:
            with gathered([parameter], zero_stage):
                if folder is not None:
                    tensors[key] = parameter.detach().to("cpu", torch.bfloat16, copy=True)
        if folder is not None:
            _check(tensors, name)
            save_file(tensors, folder / name, metadata={"format": "pt"})
            weight_map |= dict.fromkeys(tensors, name)
            total += sum(t.numel() * t.element_size() for t in tensors.values())
    if folder is not None:
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


def _shards(model: nn.Module) -> Iterator[list[tuple[str, nn.Parameter]]]:
    """Parameters in order, in groups of at most a shard's size; tied ones once."""
    group: list[tuple[str, nn.Parameter]] = []
    size = 0
    for name, parameter in model.named_parameters():
        elements = getattr(parameter, "ds_numel", parameter.numel())  # whole size under ZeRO-3
        if group and size + 2 * elements > MAX_SHARD_BYTES:
            yield group
            group, size = [], 0
        group.append((name, parameter))
        size += 2 * elements
    if group:
        yield group


def _check(tensors: dict[str, Tensor], name: str) -> None:
    for key, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise TrainingError(
                f"{name}: weight {key} has values that are not finite",
                "training diverged; lower `learningRate` and train again",
            )


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
