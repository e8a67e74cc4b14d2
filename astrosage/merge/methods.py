"""The arithmetic of merging, on pieces of tensors, as published.

A *delta* is a donor's difference from the base ("task vector", Ilharco et al. 2023). All pieces are
flat and of one floating type.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

# Below this sine, two tensors are too nearly parallel to have an arc between them.
_PARALLEL = 1e-4


def linear(tensors: Sequence[Tensor], weights: Sequence[float], *, normalize: bool) -> Tensor:
    """Weighted sum; with ``normalize``, weighted mean."""
    divisor = sum(weights) if normalize else 1.0
    total = tensors[0] * (weights[0] / divisor)
    for tensor, weight in zip(tensors[1:], weights[1:], strict=True):
        total.add_(tensor, alpha=weight / divisor)
    return total


def slerp_shares(start: float, end: float, product: float, t: float) -> tuple[float, float]:
    """The factors of two tensors in their spherical interpolation (Shoemake 1985).

    The angle is that between the tensors' directions; nearly parallel or opposite tensors, and zero
    ones, are interpolated on a straight line.

    Args:
        start: Squared norm of the tensor at ``t`` 0.
        end: Squared norm of the tensor at ``t`` 1.
        product: Their scalar product.
        t: How far to go, 0 to 1.
    """
    lengths = math.sqrt(start) * math.sqrt(end)
    if not lengths:
        return 1 - t, t
    angle = math.acos(max(-1.0, min(1.0, product / lengths)))
    sine = math.sin(angle)
    if sine < _PARALLEL:
        return 1 - t, t
    return math.sin((1 - t) * angle) / sine, math.sin(t * angle) / sine


def trim(delta: Tensor, threshold: float) -> Tensor:
    """TIES, first step: zero what is smaller in magnitude than ``threshold``, in place.

    Entries equal to it are kept, as in the authors' code.
    """
    return delta.masked_fill_(delta.abs() < threshold, 0.0)


def drop_and_rescale(delta: Tensor, density: float, *seed: int | str) -> Tensor:
    """DARE (Yu et al. 2024): drop each entry with probability 1 - density, divide the rest by it.

    Changes the delta in place. Which entries are dropped follows from the seed alone, so that
    pieces may be merged in any order, anywhere.
    """
    if density >= 1:
        return delta
    digest = hashlib.sha256(":".join(map(str, seed)).encode()).digest()
    generator = np.random.Generator(np.random.SFC64(int.from_bytes(digest[:16], "big")))
    drawn = torch.from_numpy(generator.random(delta.numel(), dtype=np.float32))
    return delta.masked_fill_(drawn >= density, 0.0).div_(density)


def elect_and_merge(
    deltas: Sequence[Tensor], weights: Sequence[float], *, normalize: bool
) -> Tensor:
    """TIES (Yadav et al. 2023), second and third step.

    The sign of each entry is that of the weighted sum, and only entries of that sign are merged;
    where the sum is zero there is no sign and the entry is zero. With ``normalize`` the merged
    entry is the weighted mean of those that agree (the paper's disjoint mean, for equal weights),
    else their weighted sum.
    """
    parts = [delta * weight for delta, weight in zip(deltas, weights, strict=True)]
    sign = sum(parts[1:], parts[0].clone()).sign_()
    total, share = torch.zeros_like(sign), torch.zeros_like(sign)
    for part, weight in zip(parts, weights, strict=True):
        agrees = part.sign() == sign
        total.add_(part * agrees)
        if normalize:
            share.add_(agrees, alpha=abs(weight))
    return total.div_(share.masked_fill_(share == 0, 1.0)) if normalize else total
