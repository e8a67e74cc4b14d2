"""The two statistics that a score needs: an interval, and a paired test. Standard library only."""

from __future__ import annotations

import math

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
