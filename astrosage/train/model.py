"""The model as it is trained: document attention, chunked loss, and nothing else changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from astrosage.errors import TrainingError
from astrosage.spec.train import Lora
from astrosage.train import adapters, attention, layers, sharded
from astrosage.train.batches import FlatBatch
from astrosage.train.loss import LossHead


class TrainingModel(nn.Module):
    """A causal language model whose forward pass is the training loss.

    Args:
        model: A transformers causal language model; it is changed in place.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        attention.install(model)
        layers.replace(model, model.config.hidden_act)
        model.lm_head = LossHead(model.lm_head)
        self.model = model

    def forward(self, batch: FlatBatch) -> Tensor:
        """The cross entropy summed over the batch's learnt tokens, an fp32 scalar."""
        hidden = self.hidden(batch)
        loss: Tensor = self.model.lm_head(hidden[0, batch.learnt], batch.targets)
        return loss

    def hidden(self, batch: FlatBatch) -> Tensor:
        """Last hidden states ``[1, N, d]``."""
        states: Tensor = self.model.model(
            input_ids=batch.tokens,
            position_ids=batch.positions,
            use_cache=False,
            document_lengths=batch.lengths,
        ).last_hidden_state
        return states

    def logits(self, batch: FlatBatch) -> Tensor:
        """Logits ``[1, N, V]``; for checks on short batches."""
        logits: Tensor = self.model.lm_head(self.hidden(batch))
        return logits


def load(
    folder: Path,
    *,
    bf16: bool,
    activation_checkpointing: bool,
    sharding: dict[str, Any] | None = None,
    lora: Lora | None = None,
    seed: int = 0,
) -> TrainingModel:
    """Load a Hugging Face directory for training.

    Args:
        folder: With ``config.json`` and safetensors weights.
        bf16: The type of the weights, else fp32.
        activation_checkpointing: Compute activations again in the backward pass.
        sharding: DeepSpeed's configuration where it shards parameters (ZeRO-3): then the model is
            built and filled in parts, and no rank ever holds the whole of it.
        lora: Adapters to add, all else frozen.
        seed: Of the adapters' first values.

    Raises:
        TrainingError: If its weights do not fit its configuration.
        SpecError: If adapter names match nothing.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    dtype = torch.bfloat16 if bf16 else torch.float32
    try:
        if sharding is None:
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, use_safetensors=True, local_files_only=True
            )
        else:
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            with sharded.building(sharding):
                model = AutoModelForCausalLM.from_config(config, dtype=dtype)
            sharded.fill(model, folder)
    except (OSError, ValueError, RuntimeError) as error:
        raise TrainingError(
            f"{folder} cannot be loaded as a causal language model: {error}",
            "check that its weights belong to its config.json",
        ) from error
    if lora is not None:
        adapters.inject(model, lora, seed)
    if activation_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    model.train()
    return TrainingModel(model)
