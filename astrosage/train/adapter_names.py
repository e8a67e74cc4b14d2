"""Which linear layers an adapter may be given; known from a model's configuration alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from astrosage.errors import SpecError
from astrosage.spec.base import did_you_mean
from astrosage.spec.train import Lora

ALL_LINEAR = "all-linear"
_LLAMA = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
LAYERS: Mapping[str, tuple[str, ...]] = dict.fromkeys(
    ("llama", "mistral", "qwen2", "qwen3"), _LLAMA
)
"""Linear layers by a configuration's ``model_type``; the output layer is not adapted."""


def check(lora: Lora, model_type: str | None, where: str = "train") -> None:
    """Refuse names that a known architecture has no layer of; others are seen when it is loaded.

    Args:
        lora: The adapters.
        model_type: From the model's configuration.
        where: The stage's place in the run file, for the message.

    Raises:
        SpecError: Naming the layers there are.
    """
    layers = LAYERS.get(model_type or "")
    if layers is None:
        return
    for index, target in enumerate(lora.targets):
        if target != ALL_LINEAR and target.rpartition(".")[2] not in layers:
            raise no_match(target, index, layers, where)


def no_match(target: str, index: int, layers: Iterable[str], where: str) -> SpecError:
    """What to say of a name that matches nothing."""
    return SpecError(
        f"{where}.lora.targets[{index}]: `{target}` matches no linear layer of the model",
        did_you_mean(target, [*layers, ALL_LINEAR]),
    )
