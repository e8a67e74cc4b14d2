"""Layers that keep less for the backward pass, with the parameter names of those they replace.

What autograd keeps of RMSNorm and of the gated feed-forward layer is mostly what can be had again
from their inputs with a little arithmetic. Memory for activations falls by about a third, and the
time to touch it with it. On a GPU, where each pass over an activation costs as much as it reads and
writes, RMSNorm is PyTorch's fused kernel and the gate is compiled into one.
"""

from __future__ import annotations

import importlib.util
import shutil
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

_NORMS = ("LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm")
_FEED_FORWARDS = ("LlamaMLP", "MistralMLP", "Qwen2MLP", "Qwen3MLP")


class _RMSNormFunction(torch.autograd.Function):
    """RMSNorm (Zhang & Sennrich 2019); epsilon is added to the mean square, sums are fp32."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        """Hidden ``[…, d]``, weight ``[d]`` to the same shape as hidden."""
        wide = hidden.float()
        scale = wide.square().mean(-1, keepdim=True).add_(epsilon).rsqrt_()
        ctx.save_for_backward(hidden, weight, scale)
        return (wide * scale).to(hidden.dtype).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        """Gradients of hidden and weight."""
        hidden, weight, scale = ctx.saved_tensors
        normed, gradient = hidden.float() * scale, gradients[0].float()
        d_weight = (gradient * normed).flatten(0, -2).sum(0).to(weight.dtype)
        gradient = gradient.mul_(weight) if gradient is not gradients[0] else gradient * weight
        shared = (gradient * normed).mean(-1, keepdim=True)
        d_hidden = gradient.sub_(normed.mul_(shared)).mul_(scale)
        return d_hidden.to(hidden.dtype), d_weight, None


class RMSNorm(nn.Module):
    """Takes the place of a model's RMSNorm.

    Args:
        weight: The layer's own parameter; shared, not copied.
        epsilon: Added to the mean square.
    """

    def __init__(self, weight: nn.Parameter, epsilon: float) -> None:
        super().__init__()
        self.weight, self.epsilon = weight, epsilon

    def forward(self, hidden: Tensor) -> Tensor:
        """``[…, d]`` to ``[…, d]``."""
        if hidden.is_cuda:
            return nn.functional.rms_norm(hidden, hidden.shape[-1:], self.weight, self.epsilon)
        output: Tensor = _RMSNormFunction.apply(  # type: ignore[no-untyped-call]
            hidden, self.weight, self.epsilon
        )
        return output


class _GateFunction(torch.autograd.Function):
    """``silu(gate) * up`` (Shazeer 2020), keeping only its inputs."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        """Two tensors of one shape to their gated product."""
        ctx.save_for_backward(gate, up)
        return nn.functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of gate and up."""
        gate, up = ctx.saved_tensors
        (gradient,) = gradients
        d_up = nn.functional.silu(gate).mul_(gradient)
        return torch.ops.aten.silu_backward(gradient * up, gate), d_up


def gate(first: Tensor, up: Tensor) -> Tensor:
    """``silu(first) * up`` in the way that suits the device."""
    if not first.is_cuda:
        return _GateFunction.apply(first, up)  # type: ignore[no-untyped-call, no-any-return]
    if torch.compiler.is_compiling():
        return _plain_gate(first, up)
    if not _can_compile():
        return _GateFunction.apply(first, up)  # type: ignore[no-untyped-call, no-any-return]
    return _compiled_gate()(first, up)  # type: ignore[no-any-return]


def _plain_gate(first: Tensor, up: Tensor) -> Tensor:
    return nn.functional.silu(first) * up


@cache
def _compiled_gate() -> Any:
    """One kernel forward and one backward, which keep the inputs only."""
    return torch.compile(_plain_gate, dynamic=True)


@cache
def _can_compile() -> bool:
    """Whether Triton is there, and the C compiler that it calls; an image may lack either."""
    compiler = any(shutil.which(name) for name in ("cc", "gcc", "clang"))
    return compiler and importlib.util.find_spec("triton") is not None


class GatedFeedForward(nn.Module):
    """Takes the place of a model's SwiGLU layer; its projections are shared, not copied."""

    def __init__(self, original: Any) -> None:
        super().__init__()
        self.gate_proj = original.gate_proj
        self.up_proj = original.up_proj
        self.down_proj = original.down_proj

    def forward(self, hidden: Tensor) -> Tensor:
        """``[…, d]`` to ``[…, d]``."""
        output: Tensor = self.down_proj(gate(self.gate_proj(hidden), self.up_proj(hidden)))
        return output


def replace(model: nn.Module, activation: str) -> None:
    """Replace what is known here, in place; other layers stay as they are.

    Args:
        model: A transformers model.
        activation: Its configuration's ``hidden_act``.
    """
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            kind = type(child).__name__
            if kind in _NORMS:
                weight, epsilon = child.weight, child.variance_epsilon
                assert isinstance(weight, nn.Parameter)
                setattr(module, name, RMSNorm(weight, float(epsilon)))  # type: ignore[arg-type]
            elif kind in _FEED_FORWARDS and activation == "silu":
                setattr(module, name, GatedFeedForward(child))
