"""Whether a model may take the place of another: not worse, within a margin, on named questions.

A test of non-inferiority: the 95 % interval of the paired difference in accuracy (Newcombe 1998,
method 10) must not reach below minus the margin. That two models do not differ significantly is not
enough, since with few questions hardly anything does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from astrosage.bench.statistics import paired_difference
from astrosage.errors import SpecError
from astrosage.spec.base import did_you_mean


@dataclass(frozen=True)
class Verdict:
    """One question set's answer.

    Attributes:
        set: The question set.
        method: How it was scored.
        questions: How many questions both models answered.
        difference: Accuracy of the model less that of the baseline.
        low: Lower end of the difference's 95 % interval.
        high: Upper end.
        margin: How far below zero the interval may reach.
    """

    set: str
    method: str
    questions: int
    difference: float
    low: float
    high: float
    margin: float

    @property
    def passed(self) -> bool:
        """Whether the model is shown not to be worse."""
        return self.low >= -self.margin

    def describe(self) -> str:
        """For people."""
        found = (
            f"{self.set} ({self.questions} questions, {self.method}): difference "
            f"{_points(self.difference)} [{_points(self.low)}, {_points(self.high)}] points, "
            f"margin {100 * self.margin:g}"
        )
        if self.passed:
            return f"{found}: not worse"
        if self.high < -self.margin:
            return f"{found}: worse"
        return f"{found}: not shown to be no worse; more questions narrow the interval"


def judge(
    summary: Mapping[str, Any], margin: float, sets: Sequence[str] = (), method: str | None = None
) -> list[Verdict]:
    """Judge a bench summary with a baseline.

    Args:
        summary: Of a finished bench stage.
        margin: Share of accuracy that may be lost.
        sets: Names of the question sets that decide; default: all.
        method: Which method decides; default: each set's main one.

    Raises:
        SpecError: If there is no baseline, or no such set or method.
    """
    by_name = {str(item["name"]): item for item in summary.get("sets") or []}
    for name in sets:
        if name not in by_name:
            raise SpecError(f"gate: there is no question set `{name}`", did_you_mean(name, by_name))
    return [_verdict(by_name[name], margin, method) for name in (sets or by_name)]


def _verdict(item: Mapping[str, Any], margin: float, method: str | None) -> Verdict:
    name, methods = str(item["name"]), item.get("methods") or {}
    method = method or str(item.get("headline"))
    if method not in methods:
        raise SpecError(
            f"gate: `{name}` was not scored by `{method}`", did_you_mean(method, methods)
        )
    found = methods[method]
    paired, model = found.get("paired"), found["model"]
    if not paired:
        raise SpecError(
            f"gate: `{name}` was scored without a baseline",
            "score the model against the one that is served: bench.baseline",
        )
    better, worse, total = int(paired["better"]), int(paired["worse"]), int(model["total"])
    both = int(model["correct"]) - better
    neither = total - both - better - worse
    difference, low, high = paired_difference(both, better, worse, neither)
    return Verdict(name, method, total, difference, low, high, margin)


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
