"""The arithmetic of merging, one tensor at a time, as published. Everything is fp32.

A *delta* is a donor's difference from the base ("task vector", Ilharco et al. 2023).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

# Below this sine, two tensors are too nearly parallel to have an arc between them.
_PARALLEL = 1e-4
_CHUNK = 1 << 24


def linear(tensors: Sequence[Tensor], weights: Sequence[float], *, normalize: bool) -> Tensor:
    """Weighted sum; with ``normalize``, weighted mean."""
    divisor = sum(weights) if normalize else 1.0
    total = torch.zeros_like(tensors[0])
    for tensor, weight in zip(tensors, weights, strict=True):
        total.add_(tensor, alpha=weight / divisor)
    return total


def slerp(start: Tensor, end: Tensor, t: float) -> Tensor:
    """Spherical interpolation (Shoemake 1985) over the tensors as vectors.

    The angle is that between the directions; nearly parallel or opposite tensors, and zero ones,
    are interpolated on a straight line.

    Args:
        start: At ``t`` 0.
        end: At ``t`` 1.
        t: How far.
    """
    lengths = math.sqrt(_dot(start, start) * _dot(end, end))
    if not lengths:
        return torch.lerp(start, end, t)
    angle = math.acos(max(-1.0, min(1.0, _dot(start, end) / lengths)))
    sine = math.sin(angle)
    if sine < _PARALLEL:
        return torch.lerp(start, end, t)
    merged = start * (math.sin((1 - t) * angle) / sine)
    return merged.add_(end, alpha=math.sin(t * angle) / sine)


def trim(delta: Tensor, threshold: float) -> Tensor:
    """TIES, first step: zero what is smaller in magnitude than ``threshold``, in place.

    The threshold is that of the whole model (:func:`astrosage.merge.magnitude.threshold`); entries
    equal to it are kept, as in the authors' code.
    """
    return delta.masked_fill_(delta.abs() < threshold, 0.0)


def drop_and_rescale(delta: Tensor, density: float, seed: int, name: str) -> Tensor:
    """DARE (Yu et al. 2024): drop each entry with probability 1 - density, divide the rest by it.

    Changes the delta in place. The drops depend on ``seed`` and ``name`` alone, not on the order in
    which tensors are merged.
    """
    if density >= 1:
        return delta
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    dropped = torch.rand(delta.shape, generator=generator) >= density
    return delta.masked_fill_(dropped, 0.0).div_(density)


def elect_and_merge(
    deltas: Sequence[Tensor], weights: Sequence[float], *, normalize: bool
) -> Tensor:
    """TIES (Yadav et al. 2023), second and third step.

    The sign of each entry is that of the weighted sum, and only entries of that sign are merged;
    where the sum is zero there is no sign and the entry is zero. With ``normalize`` the merged
    entry is the weighted mean of those that agree (the paper's disjoint mean, for equal weights),
    else their weighted sum.
    """
    sign = linear(deltas, weights, normalize=False).sign_()
    total, share = torch.zeros_like(sign), torch.zeros_like(sign)
    for delta, weight in zip(deltas, weights, strict=True):
        agrees = delta.sign() * math.copysign(1.0, weight) == sign
        total.add_(delta * agrees, alpha=weight)
        share.add_(agrees, alpha=abs(weight))
    return total.div_(share.masked_fill_(share == 0, 1.0)) if normalize else total


def _dot(a: Tensor, b: Tensor) -> float:
    """In fp64, piece by piece so that no fp64 copy of a large tensor is made."""
    pieces = zip(*(torch.split(v.flatten(), _CHUNK) for v in (a, b)), strict=True)
    return sum(float(x.double() @ y.double()) for x, y in pieces)
