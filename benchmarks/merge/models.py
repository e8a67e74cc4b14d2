"""Models to merge: a small real one with made-up donors, and shapes with random weights.

Weights are made and written a shard at a time, so that a model may be larger than the memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open

from astrosage.models.writing import ShardWriter, copy_companions

_SHARD_BYTES = 1 << 30
# A donor differs from the base about as much as a fine-tuned model does.
_CHANGE = 0.02


def donors(base: Path, folder: Path, count: int, dtype: torch.dtype) -> list[Path]:
    """The base once more in a type, and models that differ from it by noise in every weight."""
    made = []
    for number in range(count + 1):
        target = folder / ("base" if number == 0 else f"donor-{number}")
        target.mkdir(parents=True)
        copy_companions(base, target)
        writer = ShardWriter(target, _SHARD_BYTES, dtype)
        generator = torch.Generator().manual_seed(number)
        for name, tensor in _tensors(base):
            wide = tensor.float()
            if number:
                noise = torch.randn(wide.shape, generator=generator)
                wide += _CHANGE * wide.std() * noise if wide.numel() > 1 else 0
            writer.add(name, wide)
        writer.finish()
        made.append(target)
    return made


def synthetic(like: Path, folder: Path, layers: int, hidden: int, seed: int) -> Path:
    """A Llama shape with random bf16 weights and the tokenizer of a real model."""
    folder.mkdir(parents=True)
    copy_companions(like, folder)
    config = json.loads((folder / "config.json").read_text())
    heads = hidden // 128
    config |= {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": 7 * hidden // 2,
        "num_attention_heads": heads,
        "num_key_value_heads": max(1, heads // 4),
        "head_dim": 128,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    inner, keys = config["intermediate_size"], config["num_key_value_heads"] * 128
    shapes = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    for i in range(layers):
        at = f"model.layers.{i}"
        shapes |= {
            f"{at}.input_layernorm.weight": (hidden,),
            f"{at}.post_attention_layernorm.weight": (hidden,),
            f"{at}.self_attn.q_proj.weight": (hidden, hidden),
            f"{at}.self_attn.k_proj.weight": (keys, hidden),
            f"{at}.self_attn.v_proj.weight": (keys, hidden),
            f"{at}.self_attn.o_proj.weight": (hidden, hidden),
            f"{at}.mlp.gate_proj.weight": (inner, hidden),
            f"{at}.mlp.up_proj.weight": (inner, hidden),
            f"{at}.mlp.down_proj.weight": (hidden, inner),
        }
    shapes["model.norm.weight"] = (hidden,)
    writer, generator = ShardWriter(folder, _SHARD_BYTES), torch.Generator().manual_seed(seed)
    # Random numbers take longer than merging them; a block of them is used over and over, shifted.
    block = torch.randn(1 << 24, generator=generator).mul_(0.02).bfloat16()
    for number, (name, shape) in enumerate(shapes.items()):
        count = torch.Size(shape).numel()
        copies = -(-count // len(block)) + 1
        writer.add(name, block.repeat(copies)[number : number + count].reshape(shape).clone())
    writer.finish()
    return folder


def _tensors(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - it is no dictionary
                yield name, opened.get_tensor(name)
