"""How fast training is, and as a share of what the hardware could do (MFU).

MFU (Chowdhery et al. 2022) counts the arithmetic that the model needs, not what was spent on
recomputation. Per step of tokens N, learnt tokens M and documents of length L:
``3 * (2 * P * N + 2 * d * V * M + 4 * layers * H * D * sum(L ** 2))``, with P the parameters of
the linear layers except the output layer, d * V the output layer, and H heads of dimension D. The
factor 3 is one forward pass and a backward pass of twice its cost. Attention is counted over
whole squares, as is usual, though a causal mask needs half of it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from astrosage.errors import SpecError
from astrosage.plan import accelerators


@dataclass(frozen=True)
class Peak:
    """What MFU is divided by.

    Attributes:
        flops: FLOP/s of one worker.
        source: Where the figure is from, for people.
    """

    flops: float
    source: str


def peak(device: torch.device, *, bf16: bool = True) -> Peak:
    """The data sheet's peak of a known GPU, else a measured matrix-product rate."""
    if device.type == "cuda":
        with contextlib.suppress(SpecError):  # a GPU that is not in the table is measured
            gpu = accelerators.find(torch.cuda.get_device_name(device))
            return Peak(gpu.tflops * 1e12, f"{gpu.name} dense bf16 peak, {gpu.tflops:g} TFLOP/s")
    dtype = torch.bfloat16 if bf16 else torch.float32
    size = 8192 if device.type == "cuda" else 2048  # large enough to fill the device
    rate = measure_matmul(device, dtype, size)
    kind = "bf16" if bf16 else "fp32"
    return Peak(rate, f"measured {kind} matrix product {size}x{size}, {rate / 1e9:.0f} GFLOP/s")


def measure_matmul(device: torch.device, dtype: torch.dtype, size: int = 2048) -> float:
    """FLOP/s of a square matrix product: the best of five after one to warm up."""
    a = torch.randn(size, size, device=device).to(dtype)
    best = 0.0
    for i in range(6):
        began = time.perf_counter()
        torch.mm(a, a)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elapsed = time.perf_counter() - began
        if i:
            best = max(best, 2 * size**3 / elapsed)
    return best


def linear_parameters(config: Any) -> int:
    """Parameters of a Llama-shaped model's linear layers, without embeddings and output layer."""
    d, heads = config.hidden_size, config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or d // heads
    key_values = getattr(config, "num_key_value_heads", None) or heads
    attention = 2 * d * heads * head_dim + 2 * d * key_values * head_dim
    return int(config.num_hidden_layers * (attention + 3 * d * config.intermediate_size))


def training_flops(config: Any, lengths: Sequence[int], learnt: int) -> float:
    """Floating-point operations of a forward and backward pass over the given documents."""
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    attention = 4 * config.num_hidden_layers * config.num_attention_heads * head_dim
    total = 3.0 * (
        2 * linear_parameters(config) * sum(lengths)
        + 2 * config.hidden_size * config.vocab_size * learnt
        + attention * sum(n * n for n in lengths)
    )
    return float(total)


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return torch.backends.cpu.get_cpu_capability() + " CPU"
