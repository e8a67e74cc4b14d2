"""Curves through the points of a pilot, with what is not known of them. Standard library only.

Accuracy is taken to be a straight line over the logarithm of the tokens, which holds between
chance and the ceiling. Validation loss is taken to be ``L(N) = E + A N^-a`` (Hestness et al. 2017;
Hoffmann et al. 2022), which flattens, as a line would not.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from astrosage.bench.statistics import Z_95

# 97.5 % quantiles of Student's t for 1, 2, … degrees of freedom; beyond, the normal one.
_T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
_SEED = 0
_EXPONENTS = [0.01 * k for k in range(1, 101)]
_DRAWS = 100
# What two seeds of one recipe differ by at the least, as a share of the loss: with so few points,
# residuals alone would often claim to be exact.
LOSS_NOISE = 0.002


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """As plain data."""
        return {k: round(v, 6) for k, v in vars(self).items()}


@dataclass(frozen=True)
class Line:
    """Accuracy over tokens.

    Attributes:
        per_tenfold: What ten times the tokens add to the accuracy.
        ahead: The accuracy that is predicted.
        gain: ``ahead`` less the accuracy of the last point's place on the line.
    """

    per_tenfold: Estimate
    ahead: Estimate
    gain: Estimate


@dataclass(frozen=True)
class Power:
    """Validation loss over tokens: ``floor + scale * tokens ** -exponent``.

    Attributes:
        floor: E, in nats.
        scale: A.
        exponent: a.
        ahead: The loss that is predicted.
    """

    floor: float
    scale: float
    exponent: float
    ahead: Estimate

    def at(self, tokens: float) -> float:
        """The curve's loss."""
        return self.floor + self.scale * math.pow(tokens, -self.exponent)


def accuracy_line(
    tokens: Sequence[float], correct: Sequence[Sequence[bool]], ahead: float
) -> Line | None:
    """A line through accuracies, weighted alike.

    Two things are not known, and both are in the intervals. Which questions were asked: slope and
    prediction are means over questions, the same for all points, so their standard errors are those
    of means, with two more questions that the last point changed, one either way (as Agresti and
    Min 2005 do for paired answers): that none of a few changed does not show that none can. And how
    much a training scatters about the line: residuals with Student's t, from three points on.

    Args:
        tokens: Of each point, ascending.
        correct: For each point, whether each question was answered rightly, in one order.
        ahead: Tokens to predict at.

    Returns:
        None with fewer than two points or without questions.
    """
    if len(tokens) < 2 or not correct or not correct[0]:
        return None
    xs, far = [math.log10(t) for t in tokens], math.log10(ahead)
    middle = sum(xs) / len(xs)
    spread = sum((x - middle) ** 2 for x in xs)
    weights = [(x - middle) / spread for x in xs]  # of the slope
    ends = [far, far - xs[-1]]
    # Slope, prediction and gain are linear in the answers: one number a question for each.
    lines = [
        weights,
        [1 / len(xs) + (ends[0] - middle) * w for w in weights],
        [ends[1] * w for w in weights],
    ]
    columns = list(zip(*correct, strict=True))
    values = [
        [sum(w * c for w, c in zip(line, column, strict=True)) for column in columns]
        for line in lines
    ]
    accuracies = [sum(c) / len(c) for c in correct]
    scatter = _scatter(xs, accuracies, weights, middle)
    # The variance of each, in units of that about the line; a new training scatters about it too.
    shares = [1 / spread, 1 / len(xs) + (ends[0] - middle) ** 2 / spread + 1, ends[1] ** 2 / spread]
    estimates = [
        _estimate(v, scatter, share, line[-1])
        for v, share, line in zip(values, shares, lines, strict=True)
    ]
    return Line(estimates[0], _bounded(estimates[1]), estimates[2])


def _scatter(
    xs: Sequence[float], ys: Sequence[float], weights: Sequence[float], middle: float
) -> tuple[float, float]:
    """Variance about the line, and the quantile that goes with how well it is known."""
    freedom = len(xs) - 2
    if freedom < 1:
        return 0.0, 0.0
    slope = sum(w * y for w, y in zip(weights, ys, strict=True))
    mean = sum(ys) / len(ys)
    rest = [y - mean - slope * (x - middle) for x, y in zip(xs, ys, strict=True)]
    quantile = _T_95[freedom - 1] if freedom <= len(_T_95) else Z_95
    return sum(r * r for r in rest) / freedom, quantile


def _estimate(
    values: Sequence[float], scatter: tuple[float, float], share: float, change: float
) -> Estimate:
    """A mean over questions, with both kinds of uncertainty; ``change`` is what one can add."""
    n, mean = len(values), sum(values) / len(values)
    squares = sum((v - mean) ** 2 for v in values) + 2 * change**2
    variance = squares / max(1, n - 1) / n
    half = math.sqrt(Z_95**2 * variance + scatter[1] ** 2 * scatter[0] * share)
    return Estimate(mean, mean - half, mean + half)


def _bounded(estimate: Estimate) -> Estimate:
    """An accuracy stays within 0 and 1, whatever a line says."""
    return Estimate(*(min(1.0, max(0.0, v)) for v in vars(estimate).values()))


def loss_curve(tokens: Sequence[float], losses: Sequence[float], ahead: float) -> Power | None:
    """A falling power law through validation losses.

    For each exponent, floor and scale are least squares with neither below 0. What is predicted
    averages over all exponents by how well they fit, and draws floor and scale from what the points
    leave open, so its interval is wide where they are few.

    Args:
        tokens: Of each point, ascending.
        losses: In nats.
        ahead: Tokens to predict at.

    Returns:
        None with fewer than three points.
    """
    if len(tokens) < 3:
        return None
    unit = tokens[0]  # powers of plain token counts would be ill-conditioned
    ratios = [t / unit for t in tokens]
    fits = [_Fit.of(ratios, losses, a) for a in _EXPONENTS]
    best = min(fits, key=lambda f: f.error)
    noise = LOSS_NOISE * sum(losses) / len(losses)
    variance = max(best.error / max(1, len(tokens) - 2), noise**2)
    draws = _draws(fits, best.error, variance, ahead / unit)
    scale = best.scale * unit**best.exponent
    value = best.floor + best.scale * (ahead / unit) ** -best.exponent
    low, high = (_quantile(draws, q) for q in (0.025, 0.975))
    return Power(
        best.floor, scale, best.exponent, Estimate(value, min(low, value), max(high, value))
    )


@dataclass(frozen=True)
class _Fit:
    """Floor and scale for one exponent, with the normal equations' inverse."""

    exponent: float
    floor: float
    scale: float
    error: float
    inverse: tuple[float, float, float]  # of [[n, Σf], [Σf, Σf²]]: (0,0), (0,1), (1,1)

    @classmethod
    def of(cls, ratios: Sequence[float], losses: Sequence[float], exponent: float) -> _Fit:
        powers = [r**-exponent for r in ratios]
        n, sf, sff = len(powers), sum(powers), sum(f * f for f in powers)
        sy, sfy = sum(losses), sum(f * y for f, y in zip(powers, losses, strict=True))
        determinant = n * sff - sf * sf
        inverse = (sff / determinant, -sf / determinant, n / determinant)
        scale = inverse[1] * sy + inverse[2] * sfy
        floor = inverse[0] * sy + inverse[1] * sfy
        if floor < 0:
            floor, scale = 0.0, sfy / sff
        if scale < 0:
            floor, scale = sy / n, 0.0
        error = sum((y - floor - scale * f) ** 2 for f, y in zip(powers, losses, strict=True))
        return cls(exponent, floor, scale, error, inverse)


def _draws(fits: Sequence[_Fit], least: float, variance: float, ratio: float) -> list[float]:
    """Predictions from all exponents, each as often as it fits well; sorted."""
    random_ = random.Random(_SEED)
    found: list[float] = []
    for fit in fits:
        wanted = round(_DRAWS * math.exp(-(fit.error - least) / (2 * variance)))
        power = ratio**-fit.exponent
        a = math.sqrt(variance * fit.inverse[0])
        b = variance * fit.inverse[1] / a
        c = math.sqrt(max(0.0, variance * fit.inverse[2] - b * b))
        for _ in range(wanted):
            u, v = random_.gauss(0, 1), random_.gauss(0, 1)
            floor, scale = max(0.0, fit.floor + a * u), max(0.0, fit.scale + b * u + c * v)
            found.append(floor + scale * power)
    return sorted(found)


def _quantile(values: Sequence[float], q: float) -> float:
    """Of sorted values, by linear interpolation."""
    place = q * (len(values) - 1)
    below = math.floor(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (place - below) * (values[above] - values[below])


def straight(xs: Sequence[float], ys: Sequence[float], ahead: float) -> float | None:
    """Hours or money in proportion to tokens, after a start that costs the same for all.

    Args:
        xs: Tokens.
        ys: Hours or money.
        ahead: Tokens to predict at.
    """
    if len(xs) < 2:
        return None
    middle = sum(xs) / len(xs)
    spread = sum((x - middle) ** 2 for x in xs)
    mean = sum(ys) / len(ys)
    slope = max(0.0, sum((x - middle) * (y - mean) for x, y in zip(xs, ys, strict=True)) / spread)
    return max(0.0, mean + slope * (ahead - middle))
