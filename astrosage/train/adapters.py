"""Low-rank adapters (Hu et al. 2021): put into a model, and merged into its weights again."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from astrosage.spec.train import Lora
from astrosage.train.adapter_names import ALL_LINEAR, no_match

_NAME = "default"
_BASE = ".base_layer."


def inject(model: Any, lora: Lora, seed: int, where: str = "train") -> list[str]:
    """Give linear layers adapters, in place, and freeze all else.

    An adapter begins as nothing: B is zero, A is drawn as a linear layer's weight would be, from
    the seed and the layer's name alone, so that every rank has the same. Under ZeRO-3 call it
    outside ``deepspeed.zero.Init``; ``deepspeed.initialize`` shards the adapters too.

    Args:
        model: A transformers model, sharded or not.
        lora: Rank, scale and names.
        seed: Of the values of A.
        where: The stage's place in the run file, for the message.

    Returns:
        The full names of the layers, in the model's order.

    Raises:
        SpecError: If a name matches no linear layer.
    """
    from peft import LoraConfig, inject_adapter_in_model

    names = targets(model, lora, where)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # peft says int, and only divides it by the rank
        lora_dropout=lora.dropout,
        target_modules=names,
        bias="none",
    )
    inject_adapter_in_model(config, model, adapter_name=_NAME)
    for name in names:
        _begin(model.get_submodule(name), f"{seed}/{name}")
    return names


def targets(model: Any, lora: Lora, where: str = "train") -> list[str]:
    """Full names of the linear layers that are meant.

    Raises:
        SpecError: If a name matches none.
    """
    output = model.get_output_embeddings()
    layers = [
        name for name, m in model.named_modules() if isinstance(m, nn.Linear) and m is not output
    ]
    for index, target in enumerate(lora.targets):
        if not any(_meant(target, name) for name in layers):
            known = list(dict.fromkeys(name.rpartition(".")[2] for name in layers))
            raise no_match(target, index, known, where)
    return [name for name in layers if any(_meant(target, name) for target in lora.targets)]


def _meant(target: str, name: str) -> bool:
    return target == ALL_LINEAR or f".{name}".endswith(f".{target}")


def _begin(layer: Any, key: str) -> None:
    """The first values, in the type of the layer's own weight (peft makes them fp32)."""
    down, up = layer.lora_A[_NAME], layer.lora_B[_NAME]
    like = layer.base_layer.weight
    generator = torch.Generator().manual_seed(
        int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) >> 1
    )
    bound = 1 / math.sqrt(down.in_features)
    values = torch.empty(down.weight.shape).uniform_(-bound, bound, generator=generator)
    down.weight = nn.Parameter(values.to(like.device, like.dtype))
    up.weight = nn.Parameter(torch.zeros(up.weight.shape, device=like.device, dtype=like.dtype))


@dataclass(frozen=True)
class Weight:
    """A weight of the model without adapters.

    Attributes:
        name: Its name there.
        parts: What it is made of: itself, and A and B of its adapter, if it has one.
        scale: Alpha over rank.
    """

    name: str
    parts: list[nn.Parameter]
    scale: float = 1.0

    def value(self) -> Tensor:
        """The weight, or ``W + scale * B @ A`` in fp32; the parts must be whole."""
        weight, *adapter = (p.detach() for p in self.parts)
        if not adapter:
            return weight
        down, up = (p.float() for p in adapter)
        return torch.addmm(weight.float(), up, down, alpha=self.scale)


def merged(model: nn.Module) -> Iterator[Weight]:
    """Every weight of the model as it would be without adapters, tied ones once."""
    owners = dict(model.named_modules())
    for name, parameter in model.named_parameters():
        if f".lora_A.{_NAME}." in name or f".lora_B.{_NAME}." in name:
            continue
        owner, found, kind = name.rpartition(_BASE)
        if not found:
            yield Weight(name, [parameter])
            continue
        layer: Any = owners[owner]
        if kind != "weight":  # a bias has no adapter
            yield Weight(f"{owner}.{kind}", [parameter])
            continue
        adapter = [layer.lora_A[_NAME].weight, layer.lora_B[_NAME].weight]
        yield Weight(f"{owner}.{kind}", [parameter, *adapter], layer.scaling[_NAME])
