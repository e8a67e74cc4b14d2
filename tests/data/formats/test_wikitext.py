from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.data.formats.wikitext import to_text
from astrosage.data.tally import Tally

SPECIAL = {"file", "image", "category"}


def text(source: str, tally: Tally | None = None) -> str:
    return to_text(source, SPECIAL, tally or Tally())


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("'''Bold''' and ''slanted''", "Bold and slanted"),
        ("[[star]]s and [[Milky Way|galaxy]]", "stars and galaxy"),
        ("[[:Category:Stars]]", "Category:Stars"),
        ("[[File:a.jpg|thumb|A [[star]]]]After", "After"),
        ("See [http://a.org the site] or [http://b.org].", "See the site or."),
        ("Fact.<ref name=a>Book</ref><ref name=a />", "Fact."),
        ("<math>a = b</math> and 10<sup>6</sup>", "$a = b$ and 10^6"),
        ("{{convert|5|ly|pc}}, {{nowrap|a b}}, {{lang|la|stella}}", "5 ly, a b, stella"),
        ("a&nbsp;b &ndash; c", "a b – c"),
        ("a ({{IPA|x}}) b", "a b"),
        ("<!-- c -->a<nowiki>[[b]]</nowiki>", "a[[b]]"),
        ("* one\n* two\n# three", "- one\n- two\n1. three"),
        ('{| class="wikitable"\n! A !! B\n|-\n| 1 || [[x|2]]\n|}', "A | B\n1 | 2"),
        ('{| class="infobox"\n| a\n|}\nText', "Text"),
        ("{{Infobox|a={{b|c}}}}\n{{Main|X}}\nText __NOTOC__", "Text"),
        ("unclosed [[link and {{template", "unclosed [[link and {{template"),
    ],
)
def test_markup(source: str, expected: str) -> None:
    assert text(source) == expected


def test_sections() -> None:
    source = """Lead.
== Structure ==
=== Empty ===
== Mass ==
Heavy.
=== Detail ===
Exact.
== References ==
{{reflist}}
=== Books ===
A book.
== Legacy ==
Lasting.
== External links ==
* [http://a b]
"""
    tally = Tally()
    expected = "Lead.\n\n## Mass\n\nHeavy.\n\n### Detail\n\nExact.\n\n## Legacy\n\nLasting."
    assert text(source, tally) == expected
    assert tally.counts["wikiSections"] == 2


def test_what_is_dropped_is_counted() -> None:
    tally = Tally()
    text("{{a}}<ref>b</ref>[[File:c]]<!-- d -->", tally)
    assert tally.counts == {
        "wikiTemplates": 1,
        "wikiTag:ref": 1,
        "wikiFilesAndCategories": 1,
        "wikiComment": 1,
    }


@given(st.text(alphabet="[]{}|'=<>/!ab\n*#:", max_size=120))
def test_any_tangle_is_read(source: str) -> None:
    assert isinstance(text(source), str)
