"""A Hugging Face directory, loaded for scoring: body and head apart.

The body computes hidden states of whole batches; the head only the positions that are needed, in
fp32, so that logits of all positions never exist and rounding of logits does not blur scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from astrosage.errors import DataError
from astrosage.models.arithmetic import compute_type

# Positions whose logits are held at once: 200 MB in fp32 for a vocabulary of 50,000.
_HEAD_CHUNK = 1024


class LanguageModel:
    """A causal language model and its tokenizer.

    Args:
        folder: The model's directory.
        dtype: Type of the weights; default: bf16 where the device computes with it fast, else
            fp32.

    Raises:
        DataError: If the directory cannot be loaded.
    """

    def __init__(self, folder: Path, dtype: torch.dtype | None = None) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = dtype or compute_type(self.device)
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self.model: Any = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, use_safetensors=True, local_files_only=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise DataError(
                f"{folder} cannot be loaded as a causal language model: {error}",
                "check that its weights and tokenizer belong to its config.json",
            ) from error
        self.model.to(self.device).eval()
        self.folder = folder
        limit = getattr(self.model.config, "max_position_embeddings", None)
        self.max_positions = int(limit) if limit else 1 << 30

    @property
    def pad_id(self) -> int:
        """A token for padding; what it is does not matter, since it is always masked."""
        found = self.tokenizer.pad_token_id
        return int(found) if found is not None else self.end_ids[0] if self.end_ids else 0

    @property
    def end_ids(self) -> list[int]:
        """Tokens that end an answer: the generation configuration's and the tokenizer's."""
        configured = self.model.generation_config.eos_token_id
        ids = configured if isinstance(configured, list) else [configured]
        return list(dict.fromkeys(i for i in [*ids, self.tokenizer.eos_token_id] if i is not None))

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids; ``special`` adds what the tokenizer puts in front, never an end token."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=special).input_ids
        if special and ids and ids[-1] == self.tokenizer.eos_token_id:
            ids = ids[:-1]
        return ids

    def tensor(self, values: Any, dtype: torch.dtype = torch.long) -> Tensor:
        """A tensor on the model's device."""
        return torch.tensor(values, dtype=dtype, device=self.device)

    def hidden(self, ids: Tensor, positions: Tensor | None, mask: Tensor | None) -> Tensor:
        """Last hidden states ``[B, L, d]``.

        Args:
            ids: ``[B, L]``.
            positions: ``[B, L]``, or None for 0, 1, 2, …
            mask: ``[B, 1, L, L]``, 0 where row may look at column, else very negative; None for
                plain causal attention.
        """
        states: Tensor = self.model.base_model(
            input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False
        ).last_hidden_state
        return states

    def log_probabilities(self, hidden: Tensor, rows: Tensor, targets: Tensor) -> Tensor:
        """Log-probability of each target after the hidden state of its row, fp32 ``[M]``.

        Args:
            hidden: ``[N, d]``; each row's logits are computed once.
            rows: ``[M]`` indices into ``hidden``.
            targets: ``[M]`` token ids.
        """
        head = self.model.get_output_embeddings()
        weight = head.weight.float()
        bias = None if getattr(head, "bias", None) is None else head.bias.float()
        result = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        for begin in range(0, len(hidden), _HEAD_CHUNK):
            part = hidden[begin : begin + _HEAD_CHUNK].float()
            logits = torch.nn.functional.linear(part, weight, bias)
            inside = ((rows >= begin) & (rows < begin + len(part))).nonzero()[:, 0]
            local = rows[inside] - begin
            normaliser = logits.logsumexp(-1)
            result[inside] = logits[local, targets[inside]] - normaliser[local]
        return result

    def plain_log_probabilities(self, ids: Sequence[int], begin: int) -> Tensor:
        """Log-probabilities of ``ids[begin:]``, by the model's own forward pass, alone.

        Slower than batches, and right for any architecture: the reference for the rest.
        """
        length = len(ids) - begin
        logits = self.model(
            input_ids=self.tensor([list(ids[:-1])]), use_cache=False, logits_to_keep=length
        ).logits[0, -length:]
        targets = self.tensor(list(ids[begin:]))
        found: Tensor = logits.float().log_softmax(-1).gather(1, targets[:, None])[:, 0]
        return found
