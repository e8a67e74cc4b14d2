"""What makes continuous batching fast on a processor: packed weights, attention by sequence.

PyTorch multiplies few rows by a matrix as it lies in memory; oneDNN takes half the time where the
matrix is laid out in blocks beforehand, which is what PyTorch's compiler does for a frozen model.
And transformers' ``sdpa`` attends over the keys of all sequences of a batch at once and masks those
of the others, so its work grows with the square of their number; here each meets its own keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.generation.continuous_batching.cache import PagedAttentionCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

_NAME = "sdpa_a_sequence_at_a_time"
# Rows that the layout is chosen for: a step of as many sequences. Any number can be multiplied.
_ROWS = 8
_sdpa: Callable[..., tuple[Tensor, None]] = sdpa_attention_forward


class PackedLinear(nn.Module):
    """A linear layer whose weight is laid out for oneDNN; it can only be applied.

    Args:
        linear: What it does the same as, up to rounding.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _ROWS)
        self._bias = None if linear.bias is None else linear.bias.detach()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        # For code that asks for its type or shape; its values are elsewhere.
        self.weight = linear.weight.detach().to("meta")

    def forward(self, rows: Tensor) -> Tensor:
        """``[..., in]`` to ``[..., out]``."""
        result: Tensor = torch.ops.mkldnn._linear_pointwise(
            rows, self._weight, self._bias, "none", [], ""
        )
        return result


def pack(model: nn.Module) -> int:
    """Pack the linear layers of a model on a processor; it can be saved or trained no longer.

    Where the last layer shares its weight with the embedding, this makes a copy of it.

    Returns:
        How many were packed: none where PyTorch has no oneDNN, or for other types than it packs.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return 0
    count = 0
    # None is held on to, so that only one layer is there twice at a time.
    for parent in [m for m in model.modules() if type(m) is not nn.Linear]:
        for name in [name for name, _ in parent.named_children()]:
            child = getattr(parent, name)
            if type(child) is nn.Linear and _can_pack(child.weight):
                setattr(parent, name, PackedLinear(child))
                count += 1
    return count


def _can_pack(weight: Tensor) -> bool:
    if weight.device.type != "cpu":
        return False
    if weight.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32


def attend_by_sequence(model: Any) -> None:
    """Let a model whose continuous batching has begun with ``sdpa`` attend a sequence at a time."""
    AttentionInterface.register(_NAME, attention)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    model.set_attn_implementation(_NAME)


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """As transformers' ``sdpa``, to which it leaves everything but batches of a paged cache.

    Args:
        module: The attention layer.
        query: ``[1, H, q, D]`` of all sequences, one after the other.
        key, value: ``[1, G, q, D]``, of their new tokens.
        attention_mask: ``[1, 1, q, k]``, added.
        options: As transformers gives them; of the cache, where sequences begin.

    Returns:
        ``[1, q, H, D]``, and no weights.
    """
    scale = options.get("scaling")
    special = any(options.get(name) is not None for name in ("position_bias", "softcap"))
    if special or not isinstance(cache := options.get("cache"), PagedAttentionCache):
        return _sdpa(module, query, key, value, attention_mask, **options)
    key, value = cache.update(key, value, module.layer_idx, options)
    windowed = getattr(module, "sliding_window", None) is not None
    parts = []
    for (first, last), (begin, end) in _sequences(options):
        q, k, v = query[:, :, first:last], key[:, :, begin:end], value[:, :, begin:end]
        if last - first == 1 and not windowed:
            # The heads of a group are rows of one query; all keys come before it.
            rows = q.reshape(1, key.shape[1], -1, q.shape[-1])
            found = scaled_dot_product_attention(rows, k, v, scale=scale)
            parts.append(found.reshape(1, 1, query.shape[1], -1))
        else:
            mask = None if attention_mask is None else attention_mask[:, :, first:last, begin:end]
            parts.append(_sdpa(module, q, k, v, mask, scaling=scale, is_causal=False)[0])
    return torch.cat(parts, 1), None


def _sequences(options: dict[str, Any]) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Where each sequence's queries and keys begin and end."""
    queries = pairwise(options["cu_seq_lens_q"].tolist())
    keys = pairwise(options["cu_seq_lens_k"].tolist())
    return zip(queries, keys, strict=True)
