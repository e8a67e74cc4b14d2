"""Columns over classes."""

from __future__ import annotations

from collections.abc import Sequence

from astrosage.report.charts import WIDTH, figure, horizontal, text, tick_label, ticks
from astrosage.report.text import Html, tag

_LEFT, _RIGHT, _TOP, _BOTTOM, _HEIGHT = 54, 14, 14, 40, 200


def histogram(
    name: str,
    title: str,
    description: str,
    columns: Sequence[tuple[str, float]],
    x_label: str,
    style: str = "model",
) -> Html:
    """Columns from zero, one a class; empty if there are none.

    Args:
        name: Unique in the page.
        title: What is drawn.
        description: What is to be seen in it, for those who do not see it.
        columns: Label and height of each.
        x_label: What the classes are.
        style: CSS class that gives the colour.
    """
    if not columns:
        return Html("")
    high = max(value for _, value in columns)
    marks = ticks(0.0, high or 1.0)
    step = (WIDTH - _LEFT - _RIGHT) / len(columns)

    def to_y(value: float) -> float:
        return _HEIGHT - _BOTTOM - value / marks[-1] * (_HEIGHT - _TOP - _BOTTOM)

    parts = [horizontal(to_y(mark), tick_label(mark, marks)) for mark in marks]
    every = -(-len(columns) // 9)  # labels that do not run into each other
    for i, (label, value) in enumerate(columns):
        x = _LEFT + i * step
        parts.append(_column(x + 0.1 * step, to_y(value), 0.8 * step, to_y(0.0), style))
        if i % every == 0:
            parts.append(text(x + step / 2, _HEIGHT - _BOTTOM + 16, label, "middle"))
    parts.append(text((_LEFT + WIDTH - _RIGHT) / 2, _HEIGHT - 6, x_label, "middle"))
    data = {"x": x_label, "columns": [[label, value] for label, value in columns]}
    return figure(name, title, description, parts, _HEIGHT, (), data)


def _column(x: float, top: float, width: float, bottom: float, style: str) -> Html:
    return tag(
        "rect",
        x=f"{x:.1f}",
        y=f"{top:.1f}",
        width=f"{width:.1f}",
        height=f"{max(bottom - top, 0.0):.1f}",
        class_=f"bar {style}",
    )
