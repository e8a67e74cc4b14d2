"""Next-token loss computed in chunks: memory does not grow with tokens times vocabulary.

The idea is that of Liger's fused linear cross entropy (Hsu et al. 2024): logits of a chunk of
tokens are made, turned into their own gradient and dropped, all in the forward pass, so that no
more than one chunk of logits ever exists.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

# Elements of the fp32 logits held at once. On a CPU 256 tokens of a 49k vocabulary (50 MB): more
# would gain nothing. On a GPU 2,093 tokens of a 128k vocabulary (1.1 GB and half that in bf16):
# with fewer, reading the weight and adding to its gradient takes longer than the arithmetic.
_CHUNK_ELEMENTS = {"cpu": 256 * 49_152, "cuda": 1 << 28}
# Chunks whose gradients are kept in half precision and multiplied at once. Each such product is
# rounded when it is added to the weight's gradient: 16 roundings leave an error of 0.41 % in bf16,
# 4 leave 0.26 %, where rounding the exact gradient once leaves 0.17 %.
_GROUP = {"cpu": 4, "cuda": 1}
# With more products than this the sum is kept in fp32 (an error of 0.23 %), at twice its memory.
_MOST_ROUNDINGS = 8


class _LinearCrossEntropy(torch.autograd.Function):
    """Sum over tokens of the cross entropy of ``hidden @ weight.T``."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        """Hidden ``[M, d]``, weight ``[V, d]``, targets ``[M]`` to the summed loss (fp32)."""
        tokens, vocabulary = hidden.shape[0], weight.shape[0]
        place = "cuda" if hidden.is_cuda else "cpu"
        chunk = max(1, min(tokens, _CHUNK_ELEMENTS[place] // vocabulary))
        group = chunk * _GROUP[place]
        to_hidden, to_weight = ctx.needs_input_grad[0], ctx.needs_input_grad[1]
        # One set of buffers for all chunks: fresh ones would cost a CPU more in page faults than
        # the arithmetic done on them.
        half = hidden.new_empty(min(group, tokens), vocabulary)
        wide = None if hidden.is_cuda else half.new_empty(chunk, vocabulary, dtype=torch.float32)
        total = hidden.new_zeros((), dtype=torch.float32)
        d_hidden = torch.empty_like(hidden) if to_hidden else None
        few = -(-tokens // group) <= _MOST_ROUNDINGS
        sums = weight.dtype if few else torch.float32
        d_weight = torch.zeros_like(weight, dtype=sums) if to_weight else None
        for start in range(0, tokens, group):
            h = hidden[start : start + group]
            kept = half[: len(h)]
            for begin in range(0, len(h), chunk):
                part = kept[begin : begin + chunk]
                torch.mm(h[begin : begin + chunk], weight.t(), out=part)
                at = targets[start + begin : start + begin + len(part)]
                total += _loss(part, at, wide, learns=to_hidden or to_weight)
            if d_hidden is not None:
                torch.mm(kept, weight, out=d_hidden[start : start + group])
            if d_weight is not None and few:
                d_weight.addmm_(kept.t(), h)
            elif d_weight is not None:
                d_weight += torch.mm(kept.t(), h)
        ctx.save_for_backward(d_hidden, d_weight)
        ctx.dtype = weight.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Gradients kept by the forward pass, scaled."""
        d_hidden, d_weight = ctx.saved_tensors
        scale = gradients[0]
        return (
            None if d_hidden is None else d_hidden * scale,
            None if d_weight is None else (d_weight * scale).to(ctx.dtype),
            None,
        )


def _loss(logits: Tensor, targets: Tensor, wide: Tensor | None, *, learns: bool) -> Tensor:
    """Summed cross entropy of a chunk of logits, which their gradient replaces if wanted.

    Args:
        logits: ``[n, V]`` in the model's type.
        targets: ``[n]``.
        wide: A buffer of at least ``[n, V]`` in fp32; without one, PyTorch's kernels are called
            that need fewer passes over the memory and fresh memory for their results.
        learns: Whether the gradient is wanted.
    """
    rows = torch.arange(len(targets), device=targets.device)
    if wide is None:
        chances = torch.log_softmax(logits, -1, dtype=torch.float32)
        loss = -chances[rows, targets].sum()
        if learns:
            chances.exp_()
    else:
        chances = wide[: len(targets)].copy_(logits)
        highest = chances.amax(-1, keepdim=True)
        right = chances[rows, targets] - highest[:, 0]
        sums = chances.sub_(highest).exp_().sum(-1, keepdim=True)
        loss = (sums.log()[:, 0] - right).sum()
        if learns:
            chances.div_(sums)
    if learns:
        chances[rows, targets] -= 1.0
        logits.copy_(chances)
    return loss


class LossHead(nn.Module):
    """Takes the place of a model's output layer: logits, or the loss where targets are given.

    Args:
        output: The model's own ``lm_head``; its weight is shared, not copied, so that names in
            checkpoints and tied embeddings stay as they are.
    """

    def __init__(self, output: nn.Linear) -> None:
        super().__init__()
        if output.bias is not None:
            raise ValueError("output layers with a bias are not supported")
        self.weight: nn.Parameter = output.weight

    def forward(self, hidden: Tensor, targets: Tensor | None = None) -> Tensor:
        """Logits ``[…, V]`` of hidden ``[…, d]``; with targets ``[M]`` and hidden ``[M, d]``, the
        summed cross entropy as an fp32 scalar.
        """
        if targets is None:
            return nn.functional.linear(hidden, self.weight)
        loss: Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
            hidden, self.weight, targets
        )
        return loss
