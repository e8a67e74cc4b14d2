"""An engine of plain PyTorch: one process, no Ray, no DeepSpeed.

For measuring kernels on a bare machine and for checks; it does what a DeepSpeed engine does with
one worker: bf16 weights, fp32 master weights and AdamW moments, clipping by global norm.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from astrosage.spec.train import TrainSpec


class PlainEngine:
    """Forward, backward and step of a model on one device.

    Args:
        model: Whose forward gives a loss; already on its device.
        spec: AdamW's options, clipping.
    """

    def __init__(self, model: nn.Module, spec: TrainSpec) -> None:
        self.module = model
        self._clip = spec.gradient_clipping
        self._pairs: list[tuple[nn.Parameter, nn.Parameter]] = []
        groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
        for low in model.parameters():
            if low.requires_grad:
                high = low
                if low.dtype != torch.float32:
                    high = nn.Parameter(low.detach().float())
                    high.low = low  # type: ignore[attr-defined]
                self._pairs.append((low, high))
                groups[low.ndim > 1].append(high)
        self.optimizer = torch.optim.AdamW(
            [
                {"params": groups[True], "weight_decay": spec.weight_decay},
                {"params": groups[False], "weight_decay": 0.0},
            ],
            lr=spec.learning_rate,
            betas=spec.betas,
            eps=spec.epsilon,
            fused=True,
        )
        self._norm = 0.0

    def __call__(self, *arguments: Any) -> Tensor:
        """The model's loss."""
        loss: Tensor = self.module(*arguments)
        return loss

    def backward(self, loss: Tensor) -> None:
        """Add the loss's gradients to the master weights' (fp32)."""
        torch.autograd.backward(loss)
        for low, high in self._pairs:
            if low is high or low.grad is None:
                continue
            if high.grad is None:
                high.grad = low.grad.float()
            else:
                high.grad.add_(low.grad)
            low.grad = None

    def step(self) -> None:
        """Clip, update, and round the new master weights into the model."""
        highs = [high for _, high in self._pairs]
        norm = torch.nn.utils.get_total_norm([h.grad for h in highs if h.grad is not None])
        if self._clip:
            torch.nn.utils.clip_grads_with_norm_(highs, self._clip, norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for low, high in self._pairs:
                if low is not high:
                    low.copy_(high)
        self._norm = float(norm)

    def get_global_grad_norm(self) -> float:
        """Of the last step, before clipping."""
        return self._norm
