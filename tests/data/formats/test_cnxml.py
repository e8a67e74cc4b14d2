from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from astrosage.data.tally import Tally
from astrosage.errors import DataError
from tests.data.formats.reading import read

LICENSE = "http://creativecommons.org/licenses/by/4.0/"
CNXML = 'xmlns="http://cnx.rice.edu/cnxml" xmlns:m="http://www.w3.org/1998/Math/MathML"'
MODULE = f"""<document {CNXML}>
<title>Gravity</title><metadata><content-id>m1</content-id></metadata>
<content><section class="learning-objectives"><title>Aims</title>
<para>You will be able to:</para><list><item>explain</item><item>describe</item></list></section>
<para>The force (<link target-id="f"/>) is half<footnote>About.</footnote>: <m:math><m:mfrac>
<m:mn>1</m:mn><m:mn>2</m:mn></m:mfrac></m:math>, M<sub>1</sub>.</para>
<figure id="f"><title>Fall.</title><media alt="x"><image src="a.jpg"/></media>
<caption>Falling freely.</caption></figure>
<example><para><title>Weight</title>How heavy?</para>
<exercise><problem><para>Why?</para></problem><solution><para>So.</para></solution></exercise></example>
<list list-type="enumerated"><item>first</item></list>
<table><tgroup><thead><row><entry>A</entry><entry>B</entry></row></thead>
<tbody><row><entry>1</entry><entry>2</entry></row></tbody></tgroup></table></content>
<glossary><definition><term>star</term><meaning>a ball of gas</meaning></definition></glossary>
</document>"""
TEXT = r"""# Gravity

## Aims

You will be able to:

- explain
- describe

The force is half: $\frac{1}{2}$, M_1.

Fall.

Falling freely.

Weight. How heavy?

Why?

So.

1. first

A | B
1 | 2

star: a ball of gas

(Note: About.)"""


def book(folder: Path, slug: str = "b", modules: tuple[str, ...] = ("m2", "m1")) -> None:
    (folder / "collections").mkdir(exist_ok=True)
    listed = "".join(f'<c:module document="{m}"/>' for m in modules)
    (folder / f"collections/{slug}.collection.xml").write_text(
        '<c:collection xmlns:c="http://cnx.rice.edu/collxml" xmlns:md="http://cnx.rice.edu/mdml">'
        f'<metadata><md:license url="{LICENSE}">words</md:license><md:slug>{slug}</md:slug>'
        f"</metadata><c:content><c:subcollection><c:content>{listed}</c:content></c:subcollection>"
        "</c:content></c:collection>"
    )


def module(folder: Path, name: str, content: str) -> None:
    (folder / "modules" / name).mkdir(parents=True, exist_ok=True)
    (folder / "modules" / name / "index.cnxml").write_text(content)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    book(tmp_path)
    module(tmp_path, "m1", MODULE)
    module(tmp_path, "m2", f"<document {CNXML}><title>Two</title><content/></document>")
    module(tmp_path, "m3", f"<document {CNXML}><title>Other book</title></document>")
    return tmp_path


def records(repository: Path, tally: Tally | None = None, **options: Any) -> list[Any]:
    return read(f"{repository}/**/*xml", "cnxml", tally=tally, **options)


def test_modules_in_the_order_of_the_collection(repository: Path) -> None:
    tally = Tally()
    found = records(repository, tally)
    assert [(r.id, r.license) for r in found] == [("m2", LICENSE), ("m1", LICENSE)]
    assert found[1].text == TEXT
    assert tally.counts["cnxmlOtherBooks"] == 1
    assert tally.counts["cnxml:media"] == 1


def test_a_module_may_have_a_licence_of_its_own(repository: Path) -> None:
    own = '<metadata xmlns:md="http://cnx.rice.edu/mdml"><md:license url="x"/></metadata>'
    module(repository, "m1", f"<document {CNXML}><title>One</title>{own}</document>")
    assert [r.license for r in records(repository)] == [LICENSE, "x"]


def test_without_a_collection_modules_are_read_by_name(repository: Path) -> None:
    found = read(f"{repository}/modules/*/index.cnxml", "cnxml")
    assert [(r.id, r.license) for r in found] == [("m1", None), ("m2", None), ("m3", None)]


def test_one_of_several_collections(repository: Path) -> None:
    book(repository, "c", ("m3",))
    with pytest.raises(DataError, match="matches 2 collections") as caught:
        records(repository)
    assert "`cnxml.collection` to one of b, c" in caught.value.hint
    assert [r.id for r in records(repository, cnxml={"collection": "c"})] == ["m3"]
    with pytest.raises(DataError, match=r"cnxml\.collection: there is no collection `d`"):
        records(repository, cnxml={"collection": "d"})


def test_a_module_that_is_missing_or_broken(repository: Path) -> None:
    book(repository, modules=("m1", "m9"))
    with pytest.raises(DataError, match="module m9 is not among the files") as caught:
        records(repository)
    assert "modules/*/index.cnxml" in caught.value.hint
    book(repository, modules=("m1", "m2"))
    module(repository, "m2", "<document><para>")
    with pytest.raises(DataError, match=r"m2/index\.cnxml: broken XML"):
        records(repository)
    assert len(records(repository, onError="skip", maxFailures=0.5)) == 1


def test_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<a/>")
    with pytest.raises(DataError, match=r"sources\[0\]\.path: .* matches no \.cnxml file"):
        read(f"{tmp_path}/*", "cnxml")


def test_entities_are_not_expanded(repository: Path) -> None:
    entity = '<!DOCTYPE d [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    module(
        repository,
        "m1",
        f"{entity}<document {CNXML}><content><para>x&a;</para></content></document>",
    )
    assert "root:" not in records(repository)[1].text
