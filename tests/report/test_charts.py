from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.report.charts import (
    WIDTH,
    Bar,
    Group,
    Line,
    interval_chart,
    line_chart,
    stacked,
    thin,
    tick_label,
    ticks,
)

ordinary = st.floats(-1e9, 1e9).filter(lambda x: x == 0 or abs(x) > 1e-6)


@given(ordinary, ordinary)
def test_ticks_span_the_interval_in_even_steps(a: float, b: float) -> None:
    low, high = sorted((a, b))
    found = ticks(low, high)
    span = max(high - low, 1e-12)
    assert found[0] <= low + 1e-6 * span
    assert found[-1] >= high - 1e-6 * span
    assert 2 <= len(found) <= 12
    steps = [y - x for x, y in pairwise(found)]
    assert all(math.isclose(s, steps[0], rel_tol=1e-3) for s in steps)


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0, 4, ["0", "1", "2", "3", "4"]),
        (2.81, 3.25, ["2.8", "2.9", "3.0", "3.1", "3.2", "3.3"]),
        (0, 1200, ["0", "250", "500", "750", "1,000", "1,250"]),
    ],
)
def test_tick_labels(low: float, high: float, labels: list[str]) -> None:
    found = ticks(low, high)
    assert [tick_label(t, found) for t in found] == labels


@given(st.lists(st.tuples(ordinary, ordinary), max_size=900), st.integers(1, 50))
def test_thinning_keeps_the_mean(points: list[tuple[float, float]], most: int) -> None:
    found = thin(points, most)
    assert len(found) == min(len(points), most)
    if found:
        ys = [y for _, y in points]
        assert min(ys) - 1 <= min(y for _, y in found)
        assert max(y for _, y in found) <= max(ys) + 1


def numbers(figure: str, tag: str, attribute: str) -> list[float]:
    svg = re.search(r"<svg.*</svg>", figure, re.DOTALL)
    assert svg
    return [float(e.get(attribute, "nan")) for e in ET.fromstring(svg[0]).iter(tag)]


def test_bars_and_whiskers_are_where_their_values_are() -> None:
    bars = [Bar("model", "model", 0.5, 0.25, 0.75), Bar("base", "baseline", 0.0, 0.0, 0.1)]
    figure = interval_chart("n", "T", "D", [Group("Likelihood", bars)], chance=0.25)
    full, none = numbers(figure, "rect", "width")
    assert none <= 0.5
    left = numbers(figure, "rect", "x")[0]
    right = next(float(x) for x in re.findall(r'<text x="([\d.]+)"[^>]*>100%', figure))
    assert full == pytest.approx((right - left) / 2, abs=0.2)
    ends = [
        (float(x1), float(x2))
        for x1, x2 in re.findall(r'<line x1="([\d.]+)" x2="([\d.]+)"[^>]*class="whisker"', figure)
    ]
    low, high, whole = ends[:3]
    quarter = (right - left) / 4
    assert low == pytest.approx((left + quarter,) * 2, abs=0.2)
    assert high == pytest.approx((left + 3 * quarter,) * 2, abs=0.2)
    assert whole == (low[0], high[0])
    assert 'class="chance"' in figure
    assert "guessing" in figure


def test_lines_stay_inside_and_skip_what_is_no_number() -> None:
    points = [(0.0, 3.0), (1.0, math.nan), (2.0, math.inf), (3.0, 1.0)]
    figure = line_chart("n", "Loss", "Falls.", [Line("training", "model", points)], "step")
    drawn = re.search(r'points="([^"]+)"', figure)
    assert drawn
    pairs = [tuple(map(float, p.split(","))) for p in drawn[1].split()]
    assert len(pairs) == 2
    assert all(0 <= x <= WIDTH and 0 <= y <= 220 for x, y in pairs)
    assert pairs[0][1] < pairs[1][1]  # SVG counts downwards: a falling loss goes down


def test_constant_and_single_points_can_be_drawn() -> None:
    assert "polyline" in line_chart("n", "T", "D", [Line("l", "model", [(1, 2), (2, 2)])], "x")
    assert "circle" in line_chart("n", "T", "D", [Line("l", "model", [(1, 2)])], "x")
    assert line_chart("n", "T", "D", [Line("l", "model", [])], "x") == ""


def test_charts_speak_to_screen_readers() -> None:
    figure = line_chart("loss", "A <b>", "D", [Line("l", "model", [(1, 2)])], "x")
    assert 'role="img" aria-labelledby="loss-title loss-desc"' in figure
    assert '<title id="loss-title">A &lt;b&gt;</title>' in figure
    assert '<desc id="loss-desc">D</desc>' in figure


@given(st.lists(st.lists(st.floats(0, 1e3), min_size=3, max_size=3), min_size=1, max_size=5))
def test_bands_stand_on_each_other(series: list[list[float]]) -> None:
    lines = stacked([(str(i), "s1", list(enumerate(ys))) for i, ys in enumerate(series)])
    tops = [[y for _, y in line.points] for line in reversed(lines)]
    for under, over, ys in zip([[0.0] * 3, *tops], tops, series, strict=False):
        assert [b - a for a, b in zip(under, over, strict=True)] == pytest.approx(ys, abs=1e-6)
    assert [line.label for line in lines] == [str(i) for i in reversed(range(len(series)))]


def test_a_filled_line_reaches_down_to_zero() -> None:
    svg = line_chart("a", "A", "a", [Line("up", "s1", [(0, 5.0), (1, 6.0)], filled=True)], "x")
    polygon = ET.fromstring(svg).find(".//polygon")
    assert polygon is not None
    heights = [float(p.split(",")[1]) for p in polygon.attrib["points"].split()]
    assert heights[0] == heights[-1] == 220 - 40
