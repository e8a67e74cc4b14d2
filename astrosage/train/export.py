"""From a trained, possibly sharded engine to a Hugging Face directory.

Weights are gathered one at a time and written shard by shard, so that no rank ever needs more
than a shard beside its own part of the model.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from astrosage.context import StageContext
from astrosage.models.writing import ShardWriter, copy_companions
from astrosage.runs import manifest
from astrosage.train import adapters
from astrosage.train.engine import gathered


def export(
    engine: Any, context: StageContext, source: Path, *, zero_stage: int, rank: int, **facts: Any
) -> None:
    """Write the stage's ``model/``: safetensors with index, configuration and tokenizer.

    Weights are of the type that the stage's ``precision`` names. bf16 has eight significant bits:
    changes that are small beside a weight are lost in it.

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
    spec = context.stage.train
    assert spec is not None
    dtype = torch.float32 if spec.precision == "fp32" else torch.bfloat16
    storage = context.directory.storage
    with storage.writing("model") if rank == 0 else nullcontext() as folder:
        write_weights(model, folder, zero_stage, dtype)
        if folder is not None:
            copy_companions(source, folder, dtype)
            manifest.write(folder, key=context.key, **facts)
    torch.distributed.barrier()


def write_weights(
    model: nn.Module,
    folder: Path | None,
    zero_stage: int,
    dtype: torch.dtype = torch.bfloat16,
) -> None:
    """Gather and write all weights, tied ones once, adapters merged into those they belong to.

    Ranks without a folder only take part in the gathering.
    """
    writer = ShardWriter(folder, dtype=dtype) if folder is not None else None
    for weight in adapters.merged(model):
        with gathered(weight.parts, zero_stage):
            if writer is not None:
                writer.add(weight.name, weight.value())
    if writer is not None:
        writer.finish()
