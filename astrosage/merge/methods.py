"""The arithmetic of merging, one tensor at a time, as published. Everything is fp32.

A *delta* is a donor's difference from the base ("task vector", Ilharco et al. 2023).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

# Below this sine, two tensors are too nearly parallel to have an arc between them.
_PARALLEL = 1e-4


def linear(tensors: Sequence[Tensor], weights: Sequence[float], *, normalize: bool) -> Tensor:
    """Weighted sum; with ``normalize``, weighted mean."""
    scaled = _normalized(weights) if normalize else list(weights)
    total = torch.zeros_like(tensors[0])
    for tensor, weight in zip(tensors, scaled, strict=True):
        total.add_(tensor, alpha=weight)
    return total


def slerp(start: Tensor, end: Tensor, t: float) -> Tensor:
    """Spherical interpolation (Shoemake 1985) over the tensors as vectors.

    Args:
        start: At ``t`` 0.
        end: At ``t`` 1.
        t: How far.
    """
    lengths = start.norm() * end.norm()
    cosine = (start.flatten().double() @ end.flatten().double() / lengths.double()).clamp(-1, 1)
    angle = torch.arccos(cosine)
    sine = float(torch.sin(angle))
    if not lengths or abs(sine) < _PARALLEL:
        return torch.lerp(start, end, t)
    a, b = torch.sin((1 - t) * angle) / sine, torch.sin(t * angle) / sine
    return start * float(a) + end * float(b)


def trim(delta: Tensor, density: float) -> Tensor:
    """TIES, first step: keep the share ``density`` of largest magnitude, zero the rest."""
    kept = round(density * delta.numel())
    if kept >= delta.numel():
        return delta
    if kept == 0:
        return torch.zeros_like(delta)
    flat = delta.flatten()
    largest = flat.abs().topk(kept, sorted=False).indices
    trimmed = torch.zeros_like(flat)
    trimmed[largest] = flat[largest]
    return trimmed.view_as(delta)


def drop_and_rescale(delta: Tensor, density: float, seed: int, name: str) -> Tensor:
    """DARE (Yu et al. 2024): drop each entry with probability 1 - density, divide the rest by it.

    The drops depend on ``seed`` and ``name`` alone, not on the order in which tensors are merged.
    """
    if density >= 1:
        return delta
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    kept = torch.rand(delta.shape, generator=generator) < density
    return delta * kept / density


def elect_and_merge(
    deltas: Sequence[Tensor], weights: Sequence[float], *, normalize: bool
) -> Tensor:
    """TIES (Yadav et al. 2023), second and third step.

    The sign of each entry is that of the weighted sum; only entries of that sign are merged. With
    ``normalize`` the merged entry is their weighted mean, else their weighted sum.
    """
    weighted = [d * w for d, w in zip(deltas, weights, strict=True)]
    sign = torch.stack(weighted).sum(0).sign()
    total, share = torch.zeros_like(deltas[0]), torch.zeros_like(deltas[0])
    for delta, weight in zip(weighted, weights, strict=True):
        agrees = (delta.sign() == sign) & (sign != 0)
        total += torch.where(agrees, delta, 0.0)
        share += torch.where(agrees, abs(weight), 0.0)
    return torch.where(share > 0, total / share.clamp(min=1e-12), 0.0) if normalize else total


def _normalized(weights: Sequence[float]) -> list[float]:
    total = sum(weights)
    return [w / total for w in weights]
