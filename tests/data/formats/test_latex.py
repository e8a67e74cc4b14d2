from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from astrosage.data.tally import Tally
from astrosage.errors import DataError
from tests.data.formats.reading import read
from tests.data.formats.test_archive import make

MAIN = r"\documentclass{a}\begin{document}Main. \input{parts/one}\end{document}"


@pytest.fixture
def book(tmp_path: Path) -> Path:
    (tmp_path / "parts").mkdir()
    (tmp_path / "main.tex").write_text(MAIN)
    (tmp_path / "parts/one.tex").write_text("One.")
    (tmp_path / "parts/orphan.tex").write_text("Orphan.")
    (tmp_path / "macros.sty").write_text("\\newcommand{\\x}{X}")
    (tmp_path / "figure.png").write_bytes(b"\x89PNG\0")
    return tmp_path


def test_a_document_with_its_inputs_is_a_record(book: Path) -> None:
    tally = Tally()
    records = read(f"{book}/**/*", "latex", tally=tally)
    assert [(r.id, r.source, r.text) for r in records] == [
        ("main.tex", f"{book}/main.tex", "Main. One."),
        ("parts/orphan.tex", f"{book}/parts/orphan.tex", "Orphan."),
    ]
    assert tally.counts["otherFiles"] == 1
    assert tally.counts["latex:inputs"] == 1


def test_orphans_can_be_skipped(book: Path) -> None:
    tally = Tally()
    records = read(f"{book}/**/*.tex", tally=tally, latex={"orphans": "skip"})
    assert [r.id for r in records] == ["main.tex"]
    assert tally.counts["latexOrphans"] == 1
    assert tally.examples["latexOrphans"] == ["parts/orphan.tex"]


def test_parts_that_the_path_does_not_match_are_a_fault(book: Path) -> None:
    with pytest.raises(
        DataError, match=r"sources\[0\]\.path: main\.tex inputs parts/one, which .* does not match"
    ) as caught:
        read(book / "main.tex")
    assert "**/*.tex" in caught.value.hint


def test_an_input_that_is_nowhere_is_only_counted(tmp_path: Path) -> None:
    (tmp_path / "main.tex").write_text(r"A. \input{gone}")
    tally = Tally()
    (record,) = read(tmp_path / "main.tex", tally=tally)
    assert record.text == "A."
    assert tally.examples["latex:inputsMissing"] == ["gone in main.tex"]


def test_what_has_no_text_is_counted(tmp_path: Path) -> None:
    (tmp_path / "main.tex").write_text(r"\newcommand{\x}{X}")
    tally = Tally()
    assert read(tmp_path / "main.tex", tally=tally) == []
    assert tally.counts["latexEmpty"] == 1


@pytest.mark.parametrize("name", ["paper.tar", "paper.tar.gz", "paper.tgz"])
def test_an_archive_is_a_paper(tmp_path: Path, name: str) -> None:
    data = make(("main.tex", MAIN.encode()), ("parts/one.tex", b"One."), ("f.eps", b"\0"))
    (tmp_path / name).write_bytes(data if name.endswith(".tar") else gzip.compress(data))
    (record,) = read(tmp_path / name, "latex")
    assert (record.id, record.text) == ("paper/main.tex", "Main. One.")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{" * 5000 + b"x" + b"}" * 5000, "a.tex: groups or environments lie too deep"),
        (b"x" * 3000, r"a\.tex: larger than 2\.0 KiB"),
        (b"x\0\xff", r"a\.tex: binary data"),
    ],
)
def test_unusable_documents(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.tex").write_bytes(content)
    (tmp_path / "b.tex").write_bytes(b"Fine.")
    bound: dict[str, Any] = {"maxRecordBytes": 2048} if b"x" * 3000 in content else {}
    with pytest.raises(DataError, match=message):
        read(f"{tmp_path}/*.tex", **bound)


def test_unusable_documents_are_skipped_on_demand(tmp_path: Path) -> None:
    (tmp_path / "a.tex").write_bytes(b"{" * 5000 + b"x" + b"}" * 5000)
    (tmp_path / "b.tex").write_bytes(b"Fine.")
    tally = Tally()
    records = read(f"{tmp_path}/*.tex", tally=tally, onError="skip", maxFailures=0.5)
    assert [r.text for r in records] == ["Fine."]
    assert tally.counts["failed"] == 1
