"""Attention that stays inside a document.

Training batches are documents laid end to end without padding, ``[1, N]`` tokens with the length
of each document beside them. Attention is causal and computed document by document, so that the
logits of a document in a pack equal those of the document alone.

On CUDA, ``torch.nn.attention.varlen`` (FlashAttention) does this in one kernel, and what it does
not take (fp32) is computed document by document. On a CPU the function below does it all: PyTorch's
own CPU kernel computes the products of half-precision inputs element by element at about half the
speed of the matrix-product library used here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

NAME = "astrosage_document"
# Rows of queries computed at once: large enough for fast products, small enough that a block of
# scores stays in the processor's second-level cache for documents of common length.
_QUERY_BLOCK = 128


class _DocumentAttention(torch.autograd.Function):
    """Causal grouped-query attention by blocks; scores are computed again in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int], scale: float
    ) -> Tensor:
        """Queries ``[H, N, D]``, keys and values ``[K, N, D]`` to outputs ``[N, H, D]``."""
        heads, tokens, dim = query.shape
        groups = key.shape[0]
        output = query.new_empty(tokens, heads, dim)
        for start, begin, end in _blocks(lengths):
            scores, _ = _weights(query, key, start, begin, end, scale)
            mixed = torch.bmm(scores, value[:, start:end])
            output[begin:end] = (
                mixed.view(groups, -1, end - begin, dim).flatten(0, 1).transpose(0, 1)
            )
        ctx.save_for_backward(query, key, value)
        ctx.lengths, ctx.scale = lengths, scale
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Gradients of query, key and value."""
        query, key, value = ctx.saved_tensors
        groups, _, dim = key.shape
        d_output = gradients[0].transpose(0, 1)  # [H, N, D]
        d_query, d_key = torch.empty_like(query), torch.zeros_like(key)
        d_value = torch.zeros_like(value)
        for start, begin, end in _blocks(ctx.lengths):
            weights, queries = _weights(query, key, start, begin, end, ctx.scale)
            d_block = d_output[:, begin:end].reshape(groups, -1, dim)
            d_weights = torch.bmm(d_block, value[:, start:end].transpose(1, 2))
            d_scores = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype)
            d_scores = d_scores.mul_(ctx.scale)
            d_value[:, start:end] += torch.bmm(weights.transpose(1, 2), d_block)
            d_key[:, start:end] += torch.bmm(d_scores.transpose(1, 2), queries)
            d_query[:, begin:end] = torch.bmm(d_scores, key[:, start:end]).view(
                -1, end - begin, dim
            )
        return d_query, d_key, d_value, None, None


def _blocks(lengths: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """``(document start, first query, end)`` of each block of queries; keys are start to end."""
    start = 0
    for length in lengths:
        for begin in range(start, start + length, _QUERY_BLOCK):
            yield start, begin, min(begin + _QUERY_BLOCK, start + length)
        start += length


def _weights(
    query: Tensor, key: Tensor, start: int, begin: int, end: int, scale: float
) -> tuple[Tensor, Tensor]:
    """Attention weights ``[K, H/K * block, keys]`` and the block's queries, heads by group."""
    groups, _, dim = key.shape
    queries = query[:, begin:end].reshape(groups, -1, dim)
    scores = torch.bmm(queries, key[:, start:end].transpose(1, 2)).mul_(scale)
    block = end - begin
    by_head = scores.view(query.shape[0], block, end - start)
    by_head[..., begin - start :] += _future(block, query.dtype)
    return torch.softmax(scores, dim=-1), queries


@lru_cache(maxsize=4 * _QUERY_BLOCK)
def _future(block: int, dtype: torch.dtype) -> Tensor:
    """``[block, block]``: minus infinity where a key comes after the query."""
    return torch.full((block, block), float("-inf"), dtype=dtype).triu(1)


def document_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    *,
    document_lengths: Sequence[int],
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention function in the form that transformers' attention interface asks for.

    Args:
        module: The attention layer (unused).
        query: ``[1, H, N, D]``.
        key: ``[1, K, N, D]``, K dividing H.
        value: ``[1, K, N, D]``.
        attention_mask: Unused; the document lengths say it all.
        scaling: Factor on the scores; default ``D ** -0.5``.
        dropout: Must be 0; the models trained here use none.
        document_lengths: Tokens of each document, summing to N.

    Returns:
        ``[1, N, H, D]`` and None for the weights.
    """
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    if query.is_cuda:
        return _on_cuda(query, key, value, document_lengths, scale), None
    output: Tensor = _DocumentAttention.apply(  # type: ignore[no-untyped-call]
        query[0], key[0], value[0], document_lengths, scale
    )
    return output.unsqueeze(0), None


def _on_cuda(
    query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int], scale: float
) -> Tensor:
    capability = torch.cuda.get_device_capability(query.device)
    if not flash_can(query.dtype, query.shape[-1], capability):
        return _by_document(query, key, value, lengths, scale)
    from torch.nn.attention.varlen import varlen_attn

    ends = _ends(tuple(lengths), query.device)
    longest = max(lengths)
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))  # [N, heads, D]
    output = varlen_attn(
        q, k, v, ends, ends, longest, longest, scale=scale, window_size=(-1, 0), enable_gqa=True
    )
    assert isinstance(output, Tensor)  # a pair only where auxiliary results are asked for
    return output.unsqueeze(0)


def flash_can(dtype: torch.dtype, dim: int, capability: tuple[int, int]) -> bool:
    """Whether FlashAttention takes it: half precision, heads of up to 256 in steps of 8, on a GPU
    of the Ampere generation or later.
    """
    half = dtype in (torch.bfloat16, torch.float16)
    return half and dim % 8 == 0 and dim <= 256 and capability >= (8, 0)


@lru_cache(maxsize=8)
def _ends(lengths: tuple[int, ...], device: torch.device) -> Tensor:
    """``[documents + 1]`` where each begins and the last ends; once for all layers, since a copy
    to the GPU is waited for.
    """
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)


def _by_document(
    query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int], scale: float
) -> Tensor:
    """Documents one by one, for what FlashAttention does not take (fp32): ``[1, N, H, D]``.

    Key and value heads are repeated, since PyTorch's memory-efficient kernel wants as many as of
    the query; its other kernels would hold all scores.
    """
    repeats = query.shape[1] // key.shape[1]
    parts = (query, key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1))
    documents = zip(*(torch.split(x, list(lengths), dim=2) for x in parts), strict=True)
    outputs = [
        scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale) for q, k, v in documents
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2)


def install(model: Any) -> None:
    """Make a transformers model use document attention; its forward then takes
    ``document_lengths``.
    """
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, document_attention)
    AttentionMaskInterface.register(NAME, _no_mask)
    model.set_attn_implementation(NAME)


def _no_mask(*_: Any, **__: Any) -> None:
    return None
