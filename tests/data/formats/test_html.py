from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.data.formats.html import html_to_text
from astrosage.data.tally import Tally
from astrosage.errors import DataError
from tests.data.formats.reading import read


def text(page: str, tally: Tally | None = None) -> str:
    return html_to_text(page.encode(), "a.html", tally or Tally())


PAGE = """<!DOCTYPE html>
<html><head><title>Site</title><style>p {color: red}</style><script>var star = 1;</script></head>
<body><nav><a href="/">Home</a></nav><header>The site's name</header>
<main><header><h1>The <em>Sun</em></h1></header>
<p>Its mass is 2 &times; 10<sup>30</sup> kg;
   M<sub>&#9737;</sub> for short.<br>A second line.
<p>Unclosed <b>bold</b> text.<p hidden>Hidden.</p><p style="display: none">Hidden too.</p>
<h2>Layers</h2>
<ul><li>Core<li>Zones<ol><li>radiative</li><li>convective</li></ol></li></ul>
<table><tr><th>Layer<th>Kelvin</tr><tr><td>Core<td><p>15 million</p></tr></table>
<pre>x = 1
    y = 2</pre>
<blockquote><p>Said so.</p><p>Twice.</p></blockquote>
<aside>Advertisement</aside><noscript>Enable scripts</noscript>
</main><footer>Imprint</footer></body></html>"""

TEXT = """# The Sun

Its mass is 2 × 10^30 kg; M_☉ for short.
A second line.

Unclosed bold text.

## Layers

- Core
- Zones
  1. radiative
  2. convective

Layer | Kelvin
Core | 15 million

```
x = 1
    y = 2
```

> Said so.

> Twice."""


def test_a_page() -> None:
    tally = Tally()
    assert text(PAGE, tally) == TEXT
    assert tally.counts == {"htmlHidden": 2, "html:aside": 1, "html:noscript": 1}


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("<p>a</p><article>b</article><p>c</p>", "b"),
        ("<article>a</article><article>b</article>", "a\n\nb"),
        ('<div role="navigation">a</div><div role="main">b</div>', "b"),
        ("just words", "just words"),
        ("<header>site</header><p>a", "a"),
        ("a<!-- comment -->b<?php x ?>c", "abc"),
        ("<p>a&nbsp;&amp;&lt;b&gt;</p>", "a &<b>"),
        ("<div>" * 30 + "deep", "deep"),
        ("", ""),
        ("<html></html>", ""),
    ],
)
def test_what_is_main(page: str, expected: str) -> None:
    assert text(page) == expected


def test_mathematics() -> None:
    page = (
        "<p>E <math><mi>E</mi><mo>=</mo><mi>m</mi><msup><mi>c</mi><mn>2</mn></msup></math>, "
        "<math><semantics><mi>x</mi><annotation encoding='application/x-tex'>\\xi</annotation>"
        "</semantics></math>."
    )
    assert text(page) == r"E $E = mc^{2}$, $\xi$."


@pytest.mark.parametrize("named", ["iso-8859-1", "windows-1252", "utf-8", "nonsense"])
def test_a_page_may_be_wrong_about_its_encoding(named: str) -> None:
    page = f'<meta charset="{named}"><p>Größe'.encode("latin-1")
    assert html_to_text(page, "a.html", Tally()) == "Größe"


@given(st.text(alphabet="<>/abpdivul \n&;\"'=!-", max_size=300))
def test_any_tangle_of_tags_is_read(page: str) -> None:
    assert "\x00" not in text(page)


def test_a_file_is_a_record(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<p>Hello")
    (record,) = read(tmp_path / "a.html")
    assert (record.id, record.text, record.line) == ("a.html", "Hello", 1)


def test_a_page_without_text_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<script>x</script>")
    with pytest.raises(DataError, match=r"a\.html is empty"):
        read(tmp_path / "a.html")
