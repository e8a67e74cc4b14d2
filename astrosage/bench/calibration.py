"""Whether a model is right as often as it is sure: confidence against accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

BINS = 10


@dataclass(frozen=True, slots=True)
class Judgement:
    """One question as calibration sees it.

    Attributes:
        probabilities: Of each option; they sum to 1.
        chosen: Index of the option with the highest score.
        key: Index of the right option.
        correct: Whether the choice counts as right.
    """

    probabilities: Sequence[float]
    chosen: int
    key: int
    correct: bool

    @property
    def confidence(self) -> float:
        """The probability of the choice."""
        return self.probabilities[self.chosen]


def softmax(scores: Sequence[float]) -> list[float]:
    """Probabilities in proportion to ``exp(score)``, whatever the size of the scores."""
    highest = max(scores)
    weights = [math.exp(s - highest) for s in scores]
    total = math.fsum(weights)
    return [w / total for w in weights]


def calibrate(judged: Sequence[Judgement]) -> dict[str, Any]:
    """Expected calibration error, Brier score and the table that they come from.

    Confidence is put into ten bins of equal width; the error is the mean distance between
    confidence and accuracy of a bin, weighted by its questions (Guo et al. 2017). Brier's score
    (Brier 1950) is the squared distance of all options' probabilities from 1 for the key and 0 for
    the rest, 0 at best, 2 at worst.

    Args:
        judged: At least one question.
    """
    rows = []
    error = 0.0
    for i in range(BINS):
        found = [j for j in judged if min(int(j.confidence * BINS), BINS - 1) == i]
        confidence = _mean([j.confidence for j in found])
        accuracy = _mean([float(j.correct) for j in found])
        if found:
            error += len(found) / len(judged) * abs(confidence - accuracy)
        rows.append(
            {
                "low": i / BINS,
                "high": (i + 1) / BINS,
                "questions": len(found),
                "confidence": confidence if found else None,
                "accuracy": accuracy if found else None,
            }
        )
    return {
        "expectedCalibrationError": error,
        "brier": _mean([_brier(j) for j in judged]),
        "confidence": _mean([j.confidence for j in judged]),
        "bins": rows,
    }


def _brier(judged: Judgement) -> float:
    return math.fsum((p - (i == judged.key)) ** 2 for i, p in enumerate(judged.probabilities))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0
