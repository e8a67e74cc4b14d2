from __future__ import annotations

import gzip
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

from astrosage.data.formats.base import Raw, Reading
from astrosage.data.sources import read_on
from astrosage.data.tally import Tally
from astrosage.errors import DataError
from astrosage.spec.sources import Source
from tests.data.formats.reading import FIELD, read
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


def test_one_that_is_no_text_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.tex").write_bytes(b"x\0\xff")
    (tmp_path / "b.tex").write_text(r"\documentclass{a}\begin{document}Fine.\end{document}")
    tally = Tally()
    records = read(f"{tmp_path}/*.tex", tally=tally, onError="skip", maxFailures=0.5)
    assert [r.text for r in records] == ["Fine."]
    assert "binary data" in tally.examples["failed"][0]


def test_a_folder_of_papers_is_only_begun_before_a_job(tmp_path: Path) -> None:
    for i in range(120):
        (tmp_path / f"{i:03d}.tex").write_text(
            MAIN.replace("Main. \\input{parts/one}", f"Paper {i}.")
        )
    assert len(read(f"{tmp_path}/*.tex", glance=True)) == 100
    assert [r.text for r in read(f"{tmp_path}/*.tex")] == [f"Paper {i}." for i in range(120)]


def test_papers_are_converted_by_whoever_takes_them(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        text = r"\documentclass{a}\begin{document}\input{part} \citet{k}\end{document}"
        (tmp_path / name / "ms.tex").write_text(text)
        (tmp_path / name / "part.tex").write_text(f"Of {name}.")
        item = rf"\bibitem[Author of {name}(2001)]{{k}} x"
        (tmp_path / name / "ms.bbl").write_text(item)
    (tmp_path / "c").mkdir()
    macro = r"\documentclass{a}\newcommand{\p}[1]{\input{#1}}\p{part}"  # names no file
    (tmp_path / "c/ms.tex").write_text(macro)
    (tmp_path / "c/part.tex").write_text("Of c.")
    options = {"kind": "latex", "latex": {"orphans": "skip"}}
    source = Source.model_validate({"path": f"{tmp_path}/**/*", **options})
    found = list(read_on(Reading(source, "text", FIELD)))
    assert [isinstance(item, Raw) for item in found] == [True, True, False]
    sent = pickle.loads(pickle.dumps(found))
    for name in "abc":
        shutil.rmtree(tmp_path / name)
    records = [item.read(Tally()) if isinstance(item, Raw) else item for item in sent]
    texts = [r.text for r in records if r is not None]
    assert texts == ["Of a. Author of a (2001)", "Of b. Author of b (2001)", "Of c."]


def test_unusable_documents_are_skipped_on_demand(tmp_path: Path) -> None:
    (tmp_path / "a.tex").write_bytes(b"{" * 5000 + b"x" + b"}" * 5000)
    (tmp_path / "b.tex").write_bytes(b"Fine.")
    tally = Tally()
    records = read(f"{tmp_path}/*.tex", tally=tally, onError="skip", maxFailures=0.5)
    assert [r.text for r in records] == ["Fine."]
    assert tally.counts["failed"] == 1
