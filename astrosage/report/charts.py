"""Charts as inline SVG: lines over steps, and accuracies with their intervals.

Colours come from the page's style sheet, so that dark mode and print change them too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from astrosage.report.text import Html, join, tag

WIDTH = 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 14, 14, 40
_MOST_POINTS = 240

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A series.

    Attributes:
        label: Its name in the legend.
        style: CSS class that gives the colour.
        points: ``(x, y)``, x ascending.
        marks: Draw a dot at each point too.
        filled: Fill what is below, down to zero.
    """

    label: str
    style: str
    points: list[Point]
    marks: bool = False
    filled: bool = False


@dataclass(frozen=True)
class Bar:
    """An accuracy.

    Attributes:
        label: Whose.
        style: CSS class that gives the colour.
        value: Between 0 and 1.
        low: Lower end of the interval.
        high: Upper end.
    """

    label: str
    style: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Group:
    """Bars that belong together."""

    label: str
    bars: list[Bar] = field(default_factory=list)


def line_chart(
    name: str, title: str, description: str, lines: Sequence[Line], x_label: str
) -> Html:
    """Lines over a shared horizontal axis, the first one behind; empty if there is nothing to draw.

    Args:
        name: Unique in the page; the ids of title and description are made from it.
        title: What is drawn.
        description: What is to be seen in it, for those who do not see it.
        lines: The series.
        x_label: What is along the horizontal axis.
    """
    drawn = [replace(line, points=thin(finite(line.points))) for line in lines]
    drawn = [line for line in drawn if line.points]
    if not drawn:
        return Html("")
    height = 220
    xs = [x for line in drawn for x, _ in line.points]
    ys = [y for line in drawn for _, y in line.points] + [0.0] * any(x.filled for x in drawn)
    x_ticks, y_ticks = ticks(min(xs), max(xs)), ticks(min(ys), max(ys))
    x_low, x_high = min(xs), max(max(xs), min(xs) + 1)
    y_low, y_high = min(y_ticks[0], min(ys)), max(y_ticks[-1], max(ys))

    def to_x(x: float) -> float:
        return _LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - _LEFT - _RIGHT)

    def to_y(y: float) -> float:
        return height - _BOTTOM - (y - y_low) / (y_high - y_low) * (height - _TOP - _BOTTOM)

    parts = [horizontal(to_y(t), tick_label(t, y_ticks)) for t in y_ticks]
    parts += [
        text(to_x(t), height - _BOTTOM + 18, tick_label(t, x_ticks), "middle")
        for t in x_ticks
        if x_low <= t <= x_high
    ]
    parts.append(text((_LEFT + WIDTH - _RIGHT) / 2, height - 6, x_label, "middle"))
    for line in drawn:
        at = [(to_x(x), to_y(y)) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        if line.filled:
            ends = f"{at[0][0]:.1f},{to_y(0):.1f} {path} {at[-1][0]:.1f},{to_y(0):.1f}"
            parts.append(tag("polygon", points=ends, class_=f"area {line.style}"))
        parts.append(tag("polyline", points=path, class_=f"line {line.style}"))
        if line.marks or len(at) == 1:
            parts += [dot(x, y, line.style) for x, y in at]
    data = {
        "x": x_label,
        "lines": [{"label": x.label, "points": [list(p) for p in finite(x.points)]} for x in lines],
    }
    legend = [(x.label, x.style) for x in drawn]
    return figure(name, title, description, parts, height, legend, data)


def stacked(series: Sequence[tuple[str, str, list[Point]]]) -> list[Line]:
    """Lines whose filled bands between them are the series, the first one at the bottom.

    Args:
        series: Label, style and points of each; all have points at the same x.
    """
    lines: list[Line] = []
    below: list[float] = []
    for label, style, points in series:
        below = below or [0.0] * len(points)
        below = [y + under for (_, y), under in zip(points, below, strict=True)]
        tops = [(x, top) for (x, _), top in zip(points, below, strict=True)]
        lines.append(Line(label, style, tops, filled=True))
    return lines[::-1]


def interval_chart(
    name: str, title: str, description: str, groups: Sequence[Group], chance: float | None
) -> Html:
    """Horizontal bars from 0 to 1 with their 95 % intervals.

    Args:
        name: Unique in the page.
        title: What is drawn.
        description: The figures in words.
        groups: Bars by method.
        chance: Accuracy of guessing, drawn as a broken line.
    """
    left, right, bar, gap, head = 78, 20, 20, 6, 24
    bottom = 26
    height = bottom + sum(head + len(g.bars) * (bar + gap) + 6 for g in groups)

    def to_x(share: float) -> float:
        return left + share * (WIDTH - left - right)

    parts: list[Html] = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = f"{to_x(share):.1f}"
        parts.append(tag("line", x1=x, x2=x, y1="0", y2=f"{height - bottom}", class_="grid"))
        parts.append(text(to_x(share), height - 8, f"{share:.0%}", "middle"))
    if chance is not None:
        x = f"{to_x(chance):.1f}"
        parts.append(tag("line", x1=x, x2=x, y1="0", y2=f"{height - bottom}", class_="chance"))
    y = 0.0
    for group in groups:
        y += head
        parts.append(text(0, y - 8, group.label, "start", "strong"))
        for item in group.bars:
            parts += _bar(item, y, bar, to_x)
            y += bar + gap
        y += 6
    legend = [(b.label, b.style) for b in groups[0].bars] if groups else []
    if chance is not None:
        legend.append(("guessing", "chance"))
    data = {"guessing": chance, "groups": [_numbers(group) for group in groups]}
    return figure(name, title, description, parts, height, legend, data)


def _numbers(group: Group) -> dict[str, Any]:
    keys = ("label", "value", "low", "high")
    return {
        "label": group.label,
        "bars": [{key: getattr(item, key) for key in keys} for item in group.bars],
    }


def _bar(item: Bar, y: float, height: float, to_x: object) -> list[Html]:
    assert callable(to_x)
    middle = y + height / 2
    zero, value, low, high = (float(to_x(v)) for v in (0.0, item.value, item.low, item.high))
    return [
        text(zero - 8, middle + 4, item.label, "end"),
        tag(
            "rect",
            x=f"{zero:.1f}",
            y=f"{y:.1f}",
            width=f"{max(value - zero, 0.5):.1f}",
            height=f"{height}",
            class_=f"bar {item.style}",
        ),
        whisker(low, low, middle - 5, middle + 5),
        whisker(high, high, middle - 5, middle + 5),
        whisker(low, high, middle, middle),
    ]


def whisker(x1: float, x2: float, y1: float, y2: float) -> Html:
    """A line of an interval."""
    return tag(
        "line", x1=f"{x1:.1f}", x2=f"{x2:.1f}", y1=f"{y1:.1f}", y2=f"{y2:.1f}", class_="whisker"
    )


@dataclass(frozen=True)
class Drawn:
    """A figure of the report, as it can be used elsewhere.

    Attributes:
        name: Unique in the report.
        title: What is drawn.
        description: What is to be seen in it.
        svg: The picture; its colours are those of the page's style sheet.
        legend: Labels and CSS classes of what is in it.
        data: The numbers.
    """

    name: str
    title: str
    description: str
    svg: Html
    legend: list[tuple[str, str]]
    data: Any


_collected: ContextVar[list[Drawn] | None] = ContextVar("figures", default=None)


@contextmanager
def collecting() -> Iterator[list[Drawn]]:
    """Keep every figure that is drawn in the block."""
    found: list[Drawn] = []
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


def figure(
    name: str,
    title: str,
    description: str,
    parts: Sequence[Html],
    height: float,
    legend: Sequence[tuple[str, str]],
    data: Any = None,
    width: float = WIDTH,
) -> Html:
    """A picture with its title and legend.

    Args:
        name: Unique in the page; the ids of title and description are made from it.
        title: What is drawn.
        description: What is to be seen in it, for those who do not see it.
        parts: SVG elements.
        height: Of the picture, in its own units.
        legend: Labels and the CSS classes that give their colours.
        data: The numbers that are drawn, as plain data.
        width: Of the picture.
    """
    svg = tag(
        "svg",
        tag("title", title, id=f"{name}-title"),
        tag("desc", description, id=f"{name}-desc"),
        *parts,
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )
    entries = list(dict.fromkeys(legend))
    kept = _collected.get()
    if kept is not None:
        kept.append(Drawn(name, title, description, svg, entries, data))
    keys = join(tag("span", tag("i", class_=f"key {style}"), label) for label, style in entries)
    caption = tag("figcaption", tag("strong", title), tag("span", keys, class_="legend"))
    return tag("figure", caption, svg)


def horizontal(y: float, label: str, right: float = _RIGHT) -> Html:
    """A line of the grid across a chart with a vertical axis; ``right`` of it stays free."""
    line = tag(
        "line", x1=f"{_LEFT}", x2=f"{WIDTH - right}", y1=f"{y:.1f}", y2=f"{y:.1f}", class_="grid"
    )
    return join([line, text(_LEFT - 8, y + 4, label, "end")])


def text(x: float, y: float, words: str, anchor: str, style: str | None = None) -> Html:
    """A line of text; ``anchor`` is ``start``, ``middle`` or ``end``."""
    return tag("text", words, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, class_=style)


def dot(x: float, y: float, style: str) -> Html:
    """A point."""
    return tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="3.5", class_=f"dot {style}")


def finite(points: Sequence[Point]) -> list[Point]:
    """Points that can be drawn."""
    return [p for p in points if all(map(math.isfinite, p))]


def thin(points: list[Point], most: int = _MOST_POINTS) -> list[Point]:
    """At most so many points: neighbours are averaged."""
    if len(points) <= most:
        return points
    result = []
    for i in range(most):
        part = points[i * len(points) // most : (i + 1) * len(points) // most]
        result.append((sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)))
    return result


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers that span an interval (Heckbert 1990, Nice numbers for graph labels)."""
    if high <= low:
        spread = abs(low) * 0.1 or 1.0
        low, high = low - spread / 2, high + spread / 2
    raw = (high - low) / wanted
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(m * scale for m in (1, 2, 2.5, 5, 10) if m * scale >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def tick_label(value: float, all_ticks: Sequence[float]) -> str:
    """A tick's number with as many digits as its step needs."""
    step = all_ticks[1] - all_ticks[0] if len(all_ticks) > 1 else 1.0
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    if places and not math.isclose(round(step, places), step):
        places += 1  # a step of 2.5, 0.25, …
    return f"{value:,.{places}f}"
