from __future__ import annotations

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.report import text


@given(st.text())
def test_any_text_is_escaped_once_and_comes_back(value: str) -> None:
    shown = text.escape(value)
    assert "<" not in shown
    assert html.unescape(shown) == value
    assert text.escape(shown) == shown
    assert html.unescape(text.tag("p", value)) == f"<p>{value}</p>"


@given(st.text())
def test_attributes_cannot_be_left(value: str) -> None:
    shown = text.tag("i", title=value)
    assert shown.count('"') == 2
    assert "<" not in shown.removeprefix("<i").removesuffix("</i>")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (text.count(25659), "25,659"),
        (text.count(None), "\u2013"),
        (text.number(26.0888, 4), "26.09"),
        (text.number(0.000012345), "1.23e-05"),
        (text.number(0), "0.00"),
        (text.number(float("nan")), "\u2013"),
        (text.percent(0.4625), "46.2\u202f%"),
        (text.probability(0.0004), "p < 0.001"),
        (text.probability(0.273), "p = 0.27"),
        (text.size(5_910_102_016), "5.91\u202fGB"),
        (text.size(0), "0\u202fB"),
        (text.duration(0.96), "1.0\u202fs"),
        (text.duration(90.8), "1\u202fmin 31\u202fs"),
        (text.duration(7260), "2\u202fh 1\u202fmin"),
        (text.money(0.00421), "$0.0042"),
        (text.money(1234.5), "$1,234.50"),
        (text.moment(0), "1970-01-01 00:00 UTC"),
        (text.moment("yesterday"), "\u2013"),
    ],
)
def test_numbers_for_people(found: str, expected: str) -> None:
    assert found == expected


def test_tables_name_their_rows_and_columns() -> None:
    shown = text.table("Of <what>", ("A", "B"), [("x", 1), ("y", None)], numeric=(1,))
    assert "<caption>Of &lt;what&gt;</caption>" in shown
    assert '<th scope="col" class="number">B</th>' in shown
    assert '<th scope="row">x</th><td class="number">1</td>' in shown
    assert '<td class="number">\u2013</td>' in shown
