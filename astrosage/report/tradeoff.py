"""Accuracy against cost: which models are worth their price, and what accuracy costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scored:
    """A model's accuracy and what it cost.

    Attributes:
        name: The model.
        style: CSS class that gives the colour.
        usd: For 100,000 tokens, more than 0.
        accuracy: Between 0 and 1.
        low: Lower end of its 95 % interval.
        high: Upper end.
    """

    name: str
    style: str
    usd: float
    accuracy: float
    low: float
    high: float

    @property
    def decade(self) -> float:
        """Logarithm of the cost to base 10."""
        return math.log10(self.usd)


def frontier(models: Sequence[Scored]) -> list[Scored]:
    """Pareto's frontier: the models that no other beats in both, by rising cost.

    A model is left out if another is at least as good and at most as dear, and better in one.
    """
    kept: list[Scored] = []
    for model in sorted(models, key=lambda m: (m.usd, -m.accuracy)):
        if not kept or model.accuracy > kept[-1].accuracy:
            kept.append(model)
    return kept


def slope(models: Sequence[Scored]) -> float | None:
    """Points of accuracy for ten times the cost: least squares over the logarithm of the cost.

    Returns:
        None for fewer than two different costs.
    """
    if len({m.usd for m in models}) < 2:
        return None
    middle = math.fsum(m.decade for m in models) / len(models)
    mean = math.fsum(m.accuracy for m in models) / len(models)
    across = math.fsum((m.decade - middle) * (m.accuracy - mean) for m in models)
    return 100 * across / math.fsum((m.decade - middle) ** 2 for m in models)
