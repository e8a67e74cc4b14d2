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
