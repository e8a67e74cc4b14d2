"""A chart of points over a logarithmic axis, with the curve through them and where it leads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from astrosage.report.charts import WIDTH, dot, figure, horizontal, text, tick_label, ticks, whisker
from astrosage.report.text import Html, tag

_LEFT, _RIGHT, _TOP, _BOTTOM, _HEIGHT = 54, 24, 14, 40, 230
_CURVE_STEPS = 40


@dataclass(frozen=True)
class Mark:
    """A point with its interval, where it has one.

    Attributes:
        x: More than 0.
        y: Its value.
        low: Lower end.
        high: Upper end.
    """

    x: float
    y: float
    low: float | None = None
    high: float | None = None


def curve_chart(
    name: str,
    title: str,
    description: str,
    marks: Sequence[Mark],
    x_label: str,
    curve: Callable[[float], float] | None = None,
    ahead: Mark | None = None,
    level: float | None = None,
    unit: str = "",
) -> Html:
    """Points, the curve through them as a broken line, and the point that it leads to.

    Args:
        name: Unique in the page.
        title: What is drawn.
        description: The figures in words.
        marks: At least one, x ascending.
        x_label: What is along the horizontal axis.
        curve: From x to y.
        ahead: What is predicted.
        level: A baseline, drawn across.
        unit: After the numbers of the vertical axis.
    """
    shown = [*marks, *([ahead] if ahead else [])]
    first, last = math.log10(shown[0].x), math.log10(shown[-1].x)
    last = max(last, first + 0.1)
    values = [v for m in shown for v in (m.y, m.low, m.high) if v is not None]
    values += [] if level is None else [level]
    y_ticks = ticks(min(values), max(values))
    low, high = min(y_ticks[0], min(values)), max(y_ticks[-1], max(values))

    def to_x(x: float) -> float:
        share = (math.log10(x) - first) / (last - first)
        return _LEFT + 8 + share * (WIDTH - _LEFT - _RIGHT - 16)

    def to_y(y: float) -> float:
        return _HEIGHT - _BOTTOM - (y - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [horizontal(to_y(t), f"{tick_label(t, y_ticks)}{unit}", _RIGHT) for t in y_ticks]
    parts += [text(to_x(m.x), _HEIGHT - _BOTTOM + 18, short(m.x), "middle") for m in shown]
    parts.append(text((_LEFT + WIDTH - _RIGHT) / 2, _HEIGHT - 6, x_label, "middle"))
    if level is not None:
        parts.append(_across(to_y(level)))
    if curve is not None:
        xs = [10 ** (first + (last - first) * i / _CURVE_STEPS) for i in range(_CURVE_STEPS + 1)]
        path = " ".join(f"{to_x(x):.1f},{to_y(min(high, max(low, curve(x)))):.1f}" for x in xs)
        parts.append(tag("polyline", points=path, class_="line validation"))
    for mark in shown:
        style = "validation" if mark is ahead else "model"
        x = to_x(mark.x)
        if mark.low is not None and mark.high is not None:
            parts.append(whisker(x, x, to_y(mark.low), to_y(mark.high)))
        parts.append(dot(x, to_y(mark.y), style))
    legend = [("measured", "model")]
    legend += [("curve, and what it predicts", "validation")] if curve else []
    legend += [("baseline", "chance")] if level is not None else []
    data = {
        "x": x_label,
        "points": [asdict(m) for m in marks],
        "predicted": asdict(ahead) if ahead else None,
        "baseline": level,
    }
    return figure(name, title, description, parts, _HEIGHT, legend, data)


def short(value: float) -> str:
    """A count in few characters: ``37 k``, ``1.2 M``, ``3.4 B``."""
    for size, name in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:
            return f"{value / size:.3g}\u202f{name}"
    return f"{value:.3g}"


def _across(y: float) -> Html:
    return tag(
        "line", x1=f"{_LEFT}", x2=f"{WIDTH - _RIGHT}", y1=f"{y:.1f}", y2=f"{y:.1f}", class_="chance"
    )
