"""A chart of accuracy over cost, the cost on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from astrosage.report.charts import WIDTH, dot, figure, horizontal, text, tick_label, ticks, whisker
from astrosage.report.text import Html, tag
from astrosage.report.tradeoff import Scored

_LEFT, _RIGHT, _TOP, _BOTTOM, _HEIGHT = 54, 152, 14, 40, 260
_LEVEL_WIDTH = 14
_GAP = 13  # between labels, in the chart's units


@dataclass(frozen=True)
class Level:
    """An accuracy without a cost, drawn as a mark at the right edge."""

    name: str
    accuracy: float


@dataclass(frozen=True)
class _Axes:
    """From cost and accuracy to places."""

    first: float
    last: float
    low: float
    high: float

    def x(self, decade: float) -> float:
        share = (decade - self.first) / (self.last - self.first)
        return _LEFT + share * (WIDTH - _LEFT - _RIGHT)

    def y(self, accuracy: float) -> float:
        share = (accuracy - self.low) / (self.high - self.low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def scatter_chart(
    name: str,
    title: str,
    description: str,
    models: Sequence[Scored],
    best: Sequence[Scored],
    levels: Sequence[Level],
    guide: float,
) -> Html:
    """Models as points with their intervals, Pareto's frontier as a line, levels at the right.

    Args:
        name: Unique in the page.
        title: What is drawn.
        description: The figures in words.
        models: At least one.
        best: Those on the frontier, by rising cost.
        levels: Accuracies without a cost.
        guide: Slope of a broken line from the cheapest model on, more than 0: accuracy for ten
            times the cost.
    """
    axes = _axes(models, levels)
    y_ticks = [t for t in ticks(100 * axes.low, 100 * axes.high) if 0 <= t <= 100]
    parts = [horizontal(axes.y(t / 100), f"{tick_label(t, y_ticks)} %", _RIGHT) for t in y_ticks]
    for decade in range(math.ceil(axes.first), math.floor(axes.last) + 1):
        x = f"{axes.x(decade):.1f}"
        parts.append(
            tag("line", x1=x, x2=x, y1=f"{_TOP}", y2=f"{_HEIGHT - _BOTTOM}", class_="grid")
        )
        parts.append(text(axes.x(decade), _HEIGHT - _BOTTOM + 18, _dollars(decade), "middle"))
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(text(middle, _HEIGHT - 6, "USD for 0.1 M tokens", "middle"))
    parts.append(_guide(axes, models, guide))
    if len(best) > 1:
        path = " ".join(f"{axes.x(m.decade):.1f},{axes.y(m.accuracy):.1f}" for m in best)
        parts.append(tag("polyline", points=path, class_="line s3"))
    for model in models:
        parts += _point(axes, model)
    parts += _marks(axes, levels)
    legend = [(m.name, m.style) for m in models if m.style in ("model", "baseline")]
    if len(best) > 1:
        legend.append(("Pareto's frontier", "s3"))
    data = {
        "x": "USD for 0.1 M tokens",
        "models": [{k: v for k, v in asdict(m).items() if k != "style"} for m in models],
        "levels": [asdict(level) for level in levels],
    }
    return figure(name, title, description, parts, _HEIGHT, legend, data)


def _axes(models: Sequence[Scored], levels: Sequence[Level]) -> _Axes:
    decades = [m.decade for m in models]
    shares = [v for m in models for v in (m.low, m.high)] + [x.accuracy for x in levels]
    first, last = math.floor(min(decades) - 0.1), math.ceil(max(decades) + 0.1)
    marks = ticks(100 * min(shares), 100 * max(shares))
    return _Axes(first, last, max(0.0, marks[0] / 100), min(1.0, marks[-1] / 100))


def _guide(axes: _Axes, models: Sequence[Scored], slope: float) -> Html:
    """A broken line of the given slope, as far as the chart goes."""
    start = min(models, key=lambda m: (m.usd, -m.accuracy))

    def at(decade: float) -> float:
        return start.accuracy + slope * (decade - start.decade)

    end = min(axes.last, start.decade + (axes.high - start.accuracy) / slope)
    return tag(
        "line",
        x1=f"{axes.x(start.decade):.1f}",
        x2=f"{axes.x(end):.1f}",
        y1=f"{axes.y(start.accuracy):.1f}",
        y2=f"{axes.y(at(end)):.1f}",
        class_="chance",
    )


def _point(axes: _Axes, model: Scored) -> list[Html]:
    x, y = axes.x(model.decade), axes.y(model.accuracy)
    own = model.style in ("model", "baseline")
    label = f"{100 * model.accuracy:.1f} %" if own else model.name
    return [
        whisker(x, x, axes.y(model.low), axes.y(model.high)),
        dot(x, y, model.style),
        # The baseline's label stands on the left: the two are often close together.
        text(x - 7, y - 7, label, "end", "strong")
        if model.style == "baseline"
        else text(x + 7, y - 7, label, "start", "strong"),
    ]


def _marks(axes: _Axes, levels: Sequence[Level]) -> list[Html]:
    parts: list[Html] = []
    edge, free = WIDTH - _RIGHT, -math.inf
    for level in sorted(levels, key=lambda found: -found.accuracy):
        y = axes.y(level.accuracy)
        label = max(y + 4, free + _GAP)  # labels give way, marks do not
        free = label
        parts.append(whisker(edge, edge + _LEVEL_WIDTH, y, y))
        parts.append(text(edge + _LEVEL_WIDTH + 4, label, level.name, "start"))
    return parts


def _dollars(decade: int) -> str:
    value = 10.0**decade
    return f"${value:,.0f}" if decade >= 0 else f"${value:.{-decade}f}"
