"""Gains inside the field next to losses outside of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from astrosage.report.protocol import METHOD_NAMES
from astrosage.report.text import NONE, Html, count, join, number, percent, table, tag

_WORDS = {"inside": "Gain inside", "outside": "Loss outside"}


def section(summary: Mapping[str, Any]) -> Html:
    """The table; empty where nothing outside of the field was measured."""
    found = summary.get("specialising") or {}
    if "outside" not in found:
        return Html("")
    accuracy = [row for side in _WORDS for row in _accuracy(side, found.get(side) or {})]
    heldout = [row for side in _WORDS for row in _heldout(side, found.get(side) or {})]
    parts = [tag("h3", "What specialising costs")]
    if accuracy:
        parts.append(
            table(
                "Accuracy: model minus baseline on the same questions, in points, with Newcombe's "
                "95 % interval for paired differences",
                ("Side and method", "Questions", "Baseline", "Model", "Difference"),
                accuracy,
                numeric=(1, 2, 3, 4),
            )
        )
    if heldout:
        parts.append(
            table(
                "Held-out text: the model's perplexity divided by the baseline's (below 1 is "
                "better), with a 95 % interval from a bootstrap over documents",
                ("Side", "Documents", "Baseline", "Model", "Ratio"),
                heldout,
                numeric=(1, 2, 3, 4),
            )
        )
    return join(parts)


def points(found: Mapping[str, Any]) -> str:
    """``+15.5 [+11.0, +19.9]`` points."""
    value, low, high = (found.get(k) for k in ("difference", "low", "high"))
    if value is None or low is None or high is None:
        return NONE
    return f"{100 * value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def _accuracy(side: str, found: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    for method, result in (found.get("accuracy") or {}).items():
        yield (
            f"{_WORDS[side]}, {METHOD_NAMES.get(method, method).lower()}",
            count(result.get("questions")),
            percent(result.get("baseline")),
            percent(result.get("model")),
            points(result),
        )


def _heldout(side: str, found: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    texts = found.get("heldout")
    if not texts:
        return
    ratio = texts.get("perplexityRatio") or {}
    shown = number(ratio.get("value"), 4)
    if ratio.get("low") is not None:
        shown += f" [{number(ratio.get('low'), 4)}, {number(ratio.get('high'), 4)}]"
    yield (
        _WORDS[side],
        count(texts.get("documents")),
        number((texts.get("baseline") or {}).get("perplexity"), 4),
        number((texts.get("model") or {}).get("perplexity"), 4),
        shown,
    )
