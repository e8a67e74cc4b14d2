"""Next-token loss computed in chunks: memory does not grow with tokens times vocabulary.

The idea is that of Liger's fused linear cross entropy (Hsu et al. 2024): logits of a chunk of
tokens are made, turned into their own gradient and dropped, all in the forward pass, so that no
more than one chunk of logits ever exists.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

# Elements of the fp32 logits held at once: 256 tokens of a 49k vocabulary, 98 of a 128k one.
_CHUNK_ELEMENTS = 256 * 49_152


class _LinearCrossEntropy(torch.autograd.Function):
    """Sum over tokens of the cross entropy of ``hidden @ weight.T``."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        """Hidden ``[M, d]``, weight ``[V, d]``, targets ``[M]`` to the summed loss (fp32)."""
        vocabulary = weight.shape[0]
        chunk = max(1, min(hidden.shape[0], _CHUNK_ELEMENTS // vocabulary))
        learns = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        # One set of buffers for all chunks: fresh ones would cost more in page faults than the
        # arithmetic done on them.
        half = hidden.new_empty(chunk, vocabulary)
        logits = hidden.new_empty(chunk, vocabulary, dtype=torch.float32)
        total = hidden.new_zeros((), dtype=torch.float32)
        d_hidden = torch.empty_like(hidden) if learns else None
        d_weight = torch.zeros_like(weight) if learns else None
        for begin in range(0, hidden.shape[0], chunk):
            h, t = hidden[begin : begin + chunk], targets[begin : begin + chunk]
            rows = torch.arange(len(t), device=t.device)
            half_, logits_ = half[: len(t)], logits[: len(t)]
            torch.mm(h, weight.t(), out=half_)
            logits_.copy_(half_)
            highest = logits_.amax(-1, keepdim=True)
            right = logits_[rows, t] - highest[:, 0]
            sums = logits_.sub_(highest).exp_().sum(-1, keepdim=True)
            total += (sums.log()[:, 0] - right).sum()
            if d_hidden is not None and d_weight is not None:
                logits_.div_(sums)
                logits_[rows, t] -= 1.0
                half_.copy_(logits_)
                torch.mm(half_, weight, out=d_hidden[begin : begin + chunk])
                d_weight.addmm_(half_.t(), h)
        if learns:
            ctx.save_for_backward(d_hidden, d_weight)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        """Gradients kept by the forward pass, scaled."""
        d_hidden, d_weight = ctx.saved_tensors
        scale = gradients[0]
        return d_hidden * scale, d_weight * scale, None


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
