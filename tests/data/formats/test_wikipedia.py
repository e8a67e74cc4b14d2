from __future__ import annotations

import bz2
import html
from pathlib import Path
from typing import Any

import pytest

from astrosage.data.formats.wikipedia import normal_title
from astrosage.data.tally import Tally
from astrosage.errors import DataError
from tests.data.formats.reading import read

NAMESPACE = "http://www.mediawiki.org/xml/export-0.11/"


def page(title: str, text: str, namespace: int = 0, more: str = "") -> str:
    return (
        f"<page><title>{title}</title><ns>{namespace}</ns><id>1</id>{more}"
        f"<revision><text>{html.escape(text)}</text></revision></page>"
    )


PAGES = [
    page("Sun", "The '''Sun''' is a [[star]].[[Category:G-type stars]]"),
    page("Sol", "#REDIRECT [[Sun]]", more='<redirect title="Sun"/>'),
    page("Talk:Sun", "Chatter", 1),
    page("Mercury", "{{Disambiguation}} Many things.[[Category:Stars]]"),
    page("Mars (disambiguation)", "Many things."),
    page("Vega", "'''Vega''' is bright.\n[[Kategorie:A-type_stars|V]]"),
    page("Bread", "Bread is baked.[[Category:Food]]"),
]


def dump(folder: Path, *pages: str, base: str = "https://en.wikipedia.org/wiki/Main_Page") -> Path:
    xml = (
        f'<mediawiki xmlns="{NAMESPACE}"><siteinfo><base>{base}</base><namespaces>'
        '<namespace key="14">Kategorie</namespace><namespace key="6">Datei</namespace>'
        f"</namespaces></siteinfo>{''.join(pages or PAGES)}</mediawiki>"
    )
    file = folder / "pages-articles.xml.bz2"
    file.write_bytes(bz2.compress(xml.encode()))
    return file


def titles(file: Path, tally: Tally | None = None, **options: Any) -> list[str]:
    more = {"wikipedia": options} if options else {}
    return [r.id for r in read(file, "wikipedia", tally=tally, **more)]


def test_all_articles(tmp_path: Path) -> None:
    tally = Tally()
    records = read(dump(tmp_path), "wikipedia", tally=tally)
    assert [(r.id, r.text, r.license) for r in records] == [
        ("Sun", "# Sun\n\nThe Sun is a star.", "CC-BY-SA-4.0"),
        ("Vega", "# Vega\n\nVega is bright.", "CC-BY-SA-4.0"),
        ("Bread", "# Bread\n\nBread is baked.", "CC-BY-SA-4.0"),
    ]
    wiki = {k: v for k, v in tally.counts.items() if k.startswith("wikipedia")}
    assert wiki == {
        "wikipediaRedirect": 1,
        "wikipediaOtherNamespace": 1,
        "wikipediaDisambiguation": 2,
    }


def test_another_wiki_does_not_tell_its_licence(tmp_path: Path) -> None:
    file = dump(tmp_path, base="https://wiki.example.org/wiki/Main")
    assert {r.license for r in read(file, "wikipedia")} == {None}


def test_by_title_and_by_category(tmp_path: Path) -> None:
    file = dump(tmp_path)
    (tmp_path / "titles.txt").write_text("bread\nNo_such_page\n")
    assert titles(file, titles=f"{tmp_path}/titles.txt") == ["Bread"]
    assert titles(file, categories=["A-type stars"]) == ["Vega"]
    both = titles(file, titles=f"{tmp_path}/titles.txt", categories=["g-type stars"])
    assert both == ["Sun", "Bread"]


@pytest.mark.parametrize(("depth", "found"), [(0, []), (1, ["Sun"]), (2, ["Sun", "Vega"])])
def test_by_tree(tmp_path: Path, depth: int, found: list[str]) -> None:
    (tmp_path / "tree.tsv").write_text(
        "Stars\tG-type stars\nStars\tBright stars\n"
        "Bright_stars\tA-type stars\nG-type stars\tStars\n"
    )
    tree = f"{tmp_path}/tree.tsv"
    assert titles(dump(tmp_path), categories=["Stars"], tree=tree, depth=depth) == found


def test_an_unusable_tree(tmp_path: Path) -> None:
    (tmp_path / "tree.tsv").write_text("Stars, G-type stars\n")
    with pytest.raises(DataError, match=r"wikipedia\.tree: .* is not parent<TAB>child"):
        titles(dump(tmp_path), categories=["Stars"], tree=f"{tmp_path}/tree.tsv")


@pytest.mark.parametrize("inside", [True, False])
def test_a_cut_dump_gives_what_was_before(tmp_path: Path, inside: bool) -> None:
    file = dump(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(bz2.compress(bz2.decompress(whole)[:-80]) if inside else whole[:-40])
    tally = Tally()
    options: dict[str, Any] = {"maxFailures": 1.0}
    found = [r.id for r in read(file, "wikipedia", tally=tally, **options)]
    assert found == (["Sun", "Vega"] if inside else [])
    assert tally.counts["dumpsCut"] == 1
    assert "pages-articles.xml.bz2" in tally.examples["dumpsCut"][0]
    with pytest.raises(DataError, match="cut off") as caught:
        read(file, "wikipedia", onError="fail")
    assert "download it again" in caught.value.hint


def test_entities_are_not_expanded(tmp_path: Path) -> None:
    entities = '<!DOCTYPE m [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    text = "<page><title>X</title><ns>0</ns><revision><text>Hello &b;</text></revision></page>"
    (tmp_path / "a.xml").write_text(f'{entities}<mediawiki xmlns="{NAMESPACE}">{text}</mediawiki>')
    (record,) = read(tmp_path / "a.xml", "wikipedia")
    assert "aaaa" not in record.text


def test_a_page_over_the_bound(tmp_path: Path) -> None:
    file = dump(tmp_path, page("Long", "word " * 1000), page("Sun", "A star."))
    tally = Tally()
    records = read(file, "wikipedia", tally=tally, maxRecordBytes=2048, maxFailures=0.5)
    assert [r.id for r in records] == ["Sun"]
    assert "page Long: larger than 2.0 KiB" in tally.examples["failed"][0]


def test_a_page_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    file = dump(tmp_path, page("Endless", "word " * 100_000))
    with pytest.raises(DataError, match=r"a page: larger than 2\.0 KiB"):
        read(file, "wikipedia", maxRecordBytes=2048, onError="fail")


def test_a_glance(tmp_path: Path) -> None:
    pages = [page(f"P{i}", "Text.") for i in range(10)]
    assert len(read(dump(tmp_path, *pages), "wikipedia", glance=True)) == 3


@pytest.mark.parametrize(
    ("title", "normal"), [("milky_way", "Milky way"), (" a  b ", "A b"), ("", "")]
)
def test_titles(title: str, normal: str) -> None:
    assert normal_title(title) == normal
