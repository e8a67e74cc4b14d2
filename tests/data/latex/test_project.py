from __future__ import annotations

import pytest

from astrosage.data.compressed import Limits
from astrosage.data.latex.project import Project, leads_out
from astrosage.errors import DataError
from tests.data.latex.convert import project

CLASS = "\\documentclass{article}\\begin{document}x\\end{document}"


@pytest.mark.parametrize(
    ("files", "mains", "orphans"),
    [
        ({"a.tex": CLASS, "b.tex": "part"}, ["a.tex"], ["b.tex"]),
        ({"a.tex": CLASS + "\\input{b}", "b.tex": "part"}, ["a.tex"], []),
        ({"a.tex": CLASS + "\\input b ", "b.tex": "part"}, ["a.tex"], []),
        ({"a.tex": CLASS + "\\import{d/}{b}", "d/b.tex": "part"}, ["a.tex"], []),
        ({"a.tex": CLASS, "b.tex": CLASS}, ["a.tex", "b.tex"], []),
        ({"a.tex": CLASS + "\\subfile{b}", "b.tex": CLASS}, ["a.tex"], []),
        ({"a.tex": "% \\documentclass{x}\nplain"}, [], ["a.tex"]),
        ({"a.tex": "\\documentstyle{x}old"}, ["a.tex"], []),
        ({"a.tex": "\\magnification=1200 text\\bye", "b.tex": "x"}, ["a.tex"], ["b.tex"]),
        ({"a.tex": "\\input b", "b.tex": "\\input a"}, [], ["a.tex", "b.tex"]),
        ({"a.tex": "% \\input{b}\n", "b.tex": "x"}, [], ["a.tex", "b.tex"]),
        ({"a.sty": "x", "fig.eps": "y"}, [], []),
    ],
)
def test_documents(files: dict[str, str], mains: list[str], orphans: list[str]) -> None:
    assert project(files).documents() == (mains, orphans)


@pytest.mark.parametrize(
    ("name", "main", "inside", "found"),
    [
        ("b", "main.tex", "main.tex", "b.tex"),
        ("b.tex", "main.tex", "main.tex", "b.tex"),
        ("./b", "main.tex", "main.tex", "b.tex"),
        ("d/c", "main.tex", "main.tex", "d/c.tex"),
        ("c", "main.tex", "d/x.tex", "d/c.tex"),
        ("../b", "d/main.tex", "d/main.tex", "b.tex"),
        ("../../b", "d/main.tex", "d/main.tex", None),
        ("/b", "main.tex", "main.tex", None),
        ("gone", "main.tex", "main.tex", None),
    ],
)
def test_what_an_input_means(name: str, main: str, inside: str, found: str | None) -> None:
    files = project({"main.tex": "", "b.tex": "", "d/c.tex": "", "d/main.tex": ""})
    assert files.resolve(name, main, inside) == found


def test_what_cannot_be_read_is_a_document_of_its_own() -> None:
    found = project({"a.tex": CLASS, "b.tex": b"x\0\xff"})
    assert found.documents() == (["a.tex", "b.tex"], [])


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("x", []),
        ("\\input{b} \\input c \\include{gone}", ["b.tex", "c.tex"]),
        ("\\input{d/one}", ["d/one.tex", "d/two.tex"]),
        ("\\subimport{d/}{two}", ["d/two.tex"]),
        ("\\usepackage[a=1]{amsmath, mine}", ["b.tex", "mine.sty"]),
        ("\\documentclass{mine}", ["mine.cls"]),
        ("% \\input{b}\nx", []),
        ("\\newcommand{\\part}[1]{\\input{d/#1}}\\part{one}", None),
        ("\\let\\load\\input\n\\load{b}", None),
        ("\\input\\name", None),
        ("\\input{\\folder/b}", None),
        ("\\usepackage[a={[b]}]{mine}", None),
    ],
)
def test_what_a_document_needs(text: str, needed: list[str] | None) -> None:
    files = project(
        {"main.tex": text, "b.tex": "", "c.tex": "", "d/one.tex": "\\input{d/two}", "d/two.tex": ""}
        | {"mine.sty": "\\input{b}", "mine.cls": "", "other.bbl": ""}
    )
    found = files.needed("main.tex")
    if needed is None:
        assert found is None
    else:
        names = ("main.tex", *needed, "other.bbl")
        assert found == {name: files.files[name]() for name in names}


def test_a_bibliography_is_that_of_the_paper_beside_it() -> None:
    names = ("a/ms.tex", "a/ms.bbl", "a/extra.bbl", "b/ms.tex", "b/refs.bbl", "b/c/ms.bbl")
    flat = ("p1.tex", "p1.bbl", "p2.tex", "p2.bbl", "p3.tex")
    files = project({n: CLASS if n.endswith(".tex") else "" for n in (*names, *flat)})
    others = ["a/extra.bbl", "b/c/ms.bbl", "b/refs.bbl", "p1.bbl", "p2.bbl"]
    assert files.bibliographies("a/ms.tex") == [*others, "a/ms.bbl"]
    files.documents()  # now it is known that they are several
    assert files.bibliographies("a/ms.tex") == ["a/extra.bbl", "a/ms.bbl"]
    assert files.bibliographies("b/ms.tex") == ["b/refs.bbl"]
    assert files.bibliographies("p1.tex") == ["p1.bbl"]
    assert files.bibliographies("p3.tex") == []


@pytest.mark.parametrize(
    ("name", "out"), [("../x", True), ("/x", True), ("a/../../x", True), ("a/../x", False)]
)
def test_leading_out(name: str, out: bool) -> None:
    assert leads_out(name, "main.tex") is out


def test_a_document_over_the_bound() -> None:
    files = {"a.tex": lambda: b"x" * 800, "b.tex": lambda: b"x" * 800}
    small = Project(files, "paper", Limits(record_bytes=1024))
    small.text("a.tex")
    with pytest.raises(DataError, match="paper with its inputs: larger than"):
        small.text("b.tex")
    small.forget()
    assert len(small.text("b.tex")) == 800


def test_latin_1_is_read_and_counted() -> None:
    files = project({"a.tex": "Universit\xe4t".encode("latin-1")})
    assert files.text("a.tex") == "Universität"
    assert files.tally.counts == {"latin1Converted": 1}
