"""The statistics that scores need: intervals, and paired tests. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Sequence

Z_95 = 1.959963984540054
"""97.5 % quantile of the standard normal distribution."""


def wilson(correct: int, total: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927), without continuity correction.

    It stays within 0 and 1 and keeps its coverage near the ends, where the normal approximation
    does not.

    Args:
        correct: Successes.
        total: Trials.
        z: Quantile of the standard normal distribution; the default gives 95 %.

    Returns:
        Lower and upper limit; ``(0, 1)`` when there was no trial.

    Raises:
        ValueError: If ``correct`` is not between 0 and ``total``.
    """
    if not 0 <= correct <= total:
        raise ValueError(f"{correct} of {total} is no proportion")
    if total == 0:
        return 0.0, 1.0
    share = correct / total
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    centre = share + z * z / (2 * total)
    low = 0.0 if correct == 0 else (centre - spread) / scale
    high = 1.0 if correct == total else (centre + spread) / scale
    return max(0.0, low), min(1.0, high)


def mcnemar(better: int, worse: int) -> float:
    """Exact two-sided p-value of McNemar's test (McNemar 1947; exact form: Mosteller 1952).

    Under the null hypothesis, a question that just one of two models answers rightly is as likely
    to be won by either; the p-value is twice the smaller tail of a binomial distribution with
    probability one half, at most 1. It is not the mid-p variant, so it errs on the careful side.

    Args:
        better: Questions that the model has right and the baseline wrong.
        worse: The other way round.
    """
    if better < 0 or worse < 0:
        raise ValueError("counts cannot be negative")
    trials = better + worse
    tail: int = sum(math.comb(trials, k) for k in range(min(better, worse) + 1))
    # Whole numbers divide exactly rounded however large they are; powers of 0.5 would underflow.
    two_tails: float = 2 * tail / 2**trials
    return min(1.0, two_tails)


def holm(values: Sequence[float]) -> list[float]:
    """P-values adjusted for how many there are (Holm 1979, step-down).

    To call those below 0.05 significant keeps the chance of even one false call below 5 %, however
    the tests depend on each other.

    Args:
        values: Unadjusted p-values.

    Returns:
        Adjusted ones in the same order, none smaller than its own, at most 1.
    """
    order = sorted(range(len(values)), key=lambda i: values[i])
    adjusted, largest = [1.0] * len(values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[i]))
        adjusted[i] = largest
    return adjusted


def paired_difference(
    both: int, better: int, worse: int, neither: int, z: float = Z_95
) -> tuple[float, float, float]:
    """Difference of two paired proportions with its interval (Newcombe 1998, method 10).

    The squares of Wilson's half-widths are added, less what the two have in common, which the
    table's correlation (with Newcombe's correction of phi) estimates.

    Args:
        both: Questions that model and baseline have right.
        better: Those that the model alone has right.
        worse: Those that the baseline alone has right.
        neither: Those that none has right.
        z: Quantile of the standard normal distribution; the default gives 95 %.

    Returns:
        Model minus baseline, lower and upper limit; ``(0, -1, 1)`` without questions.
    """
    total = both + better + worse + neither
    if min(both, better, worse, neither) < 0:
        raise ValueError("counts cannot be negative")
    if total == 0:
        return 0.0, -1.0, 1.0
    model, base = (both + better) / total, (both + worse) / total
    model_low, model_high = wilson(both + better, total, z)
    base_low, base_high = wilson(both + worse, total, z)
    phi = _corrected_phi(both, better, worse, neither)
    difference = (better - worse) / total
    down = _joined(model - model_low, base_high - base, phi)
    up = _joined(model_high - model, base - base_low, phi)
    return difference, max(-1.0, difference - down), min(1.0, difference + up)


def _joined(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))


def _corrected_phi(a: int, b: int, c: int, d: int) -> float:
    product = (a + b) * (c + d) * (a + c) * (b + d)
    if product == 0:
        return 0.0
    found = a * d - b * c
    half = (a + b + c + d) / 2
    corrected = found - half if found > half else min(found, 0)
    return corrected / math.sqrt(product)
