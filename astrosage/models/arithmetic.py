"""Which type a model is computed in."""

from __future__ import annotations

import torch

from astrosage.processor import has_bf16


def fast_bf16(device: torch.device | str) -> bool:
    """Whether a device multiplies matrices of bf16 at a useful speed."""
    return torch.device(device).type != "cpu" or has_bf16()


def compute_type(device: torch.device | str) -> torch.dtype:
    """bf16, the type of the weights at rest, or fp32 where bf16 would be slow."""
    return torch.bfloat16 if fast_bf16(device) else torch.float32
