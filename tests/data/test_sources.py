from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from astrosage.data.sources import check_source, count_records, digest, expand, read_records
from astrosage.errors import DataError, NotFoundError, SpecError
from astrosage.spec.stages import Source

FIELD = "spec.stages[0].prepare.sources[0]"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "b.md").write_text("# B\n\nSecond.\n")
    (tmp_path / "a.txt").write_text("First.\n")
    (tmp_path / "deep" / "er" / "c.md.gz").write_bytes(gzip.compress(b"Third.\n"))
    (tmp_path / "d.jsonl").write_text('{"text": "Fourth."}\n\n{"text": "Fifth.", "id": "five"}\n')
    return tmp_path


def test_expand_finds_files_sorted(folder: Path) -> None:
    assert expand(f"{folder}/*.md", "f") == [folder / "b.md"]
    assert expand(f"{folder}/**/*.md*", "f") == [folder / "b.md", folder / "deep/er/c.md.gz"]
    assert expand(f"{folder}/a.txt", "f") == [folder / "a.txt"]
    assert expand(f"file://{folder}/a.txt", "f") == [folder / "a.txt"]


def test_a_name_with_a_glob_character_means_that_file_if_it_exists(tmp_path: Path) -> None:
    (tmp_path / "a[1].md").write_text("x")
    assert expand(f"{tmp_path}/a[1].md", "f") == [tmp_path / "a[1].md"]


@pytest.mark.parametrize(
    ("path", "message"),
    [("*.pdf", r"no file matches the pattern .*\*\.pdf"), ("gone.md", "no such file: .*gone.md")],
)
def test_nothing_matches(folder: Path, path: str, message: str) -> None:
    with pytest.raises(NotFoundError, match=rf"^the\.field: {message}"):
        expand(f"{folder}/{path}", "the.field")


def test_a_folder_is_no_source(folder: Path) -> None:
    with pytest.raises(NotFoundError, match=r"deep is a folder") as caught:
        expand(f"{folder}/deep", "f")
    assert "deep/*.md" in caught.value.hint


def test_uris_through_fsspec() -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe_file("/corpus/a.md", b"One.")
    fs.pipe_file("/corpus/b.jsonl.gz", gzip.compress(b'{"text": "Two."}\n'))
    try:
        assert expand("memory://corpus/*.md", "f") == ["memory:///corpus/a.md"]
        source = Source(path="memory://corpus/*")
        assert [r.text for r in read_records(source, "text", FIELD)] == ["One.", "Two."]
        assert digest(source)[0] == ("memory:///corpus/a.md", hashlib.sha256(b"One.").hexdigest())
        with pytest.raises(NotFoundError, match=r"no such file: memory://corpus/gone\.md"):
            expand("memory://corpus/gone.md", "f")
    finally:
        fs.rm("/corpus", recursive=True)


def test_unknown_scheme() -> None:
    with pytest.raises(SpecError, match="f: nosuch://a/b: Protocol not known: nosuch"):
        expand("nosuch://a/b", "f")


def test_records_of_every_ending(folder: Path) -> None:
    records = list(read_records(Source(path=f"{folder}/**/*"), "text", FIELD))
    assert [(r.id, r.line, r.text) for r in records] == [
        ("a.txt", 1, "First.\n"),
        ("b.md", 1, "# B\n\nSecond.\n"),
        ("d.jsonl:1", 1, "Fourth."),
        ("five", 3, "Fifth."),
        ("c.md.gz", 1, "Third.\n"),
    ]
    assert records[3].source == f"{folder}/d.jsonl"


def test_check_source_counts_and_count_records_agrees(folder: Path) -> None:
    source = Source(path=f"{folder}/**/*")
    assert check_source(source, "text", FIELD) == count_records(source, FIELD) == 5


@pytest.mark.parametrize(
    ("name", "format", "message"),
    [
        ("a.pdf", "text", r"sources\[0\]\.path: .*a\.pdf ends in `\.pdf`, which `format: text`"),
        ("a.md", "chat", r"ends in `\.md`, which `format: chat` does not read"),
        ("README", "text", "ends in `nothing`"),
        ("a.csv.gz", "text", r"ends in `\.csv`"),
    ],
)
def test_endings_that_are_not_read(tmp_path: Path, name: str, format: str, message: str) -> None:  # noqa: A002
    (tmp_path / name).write_text("x")
    with pytest.raises(DataError, match=message) as caught:
        check_source(Source(path=f"{tmp_path}/{name}"), format, FIELD)  # type: ignore[arg-type]
    assert ".jsonl" in caught.value.hint


def test_jsonl_without_records_is_empty(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n \n")
    with pytest.raises(DataError, match=r"a\.jsonl is empty"):
        check_source(Source(path=f"{tmp_path}/a.jsonl"), "text", FIELD)


def test_a_fault_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n\n{"text": \n')
    with pytest.raises(DataError, match=r"a\.jsonl, line 3: broken JSON"):
        check_source(Source(path=f"{tmp_path}/a.jsonl"), "text", FIELD)


def test_digest_is_of_the_bytes(folder: Path) -> None:
    expected = hashlib.sha256((folder / "b.md").read_bytes()).hexdigest()
    assert digest(Source(path=f"{folder}/*.md")) == [(f"{folder}/b.md", expected)]


def test_the_command_line_pays_for_nothing_heavy() -> None:
    code = (
        "import sys, astrosage.data.sources; "
        "print([m for m in ('torch', 'numpy', 'transformers', 'fsspec') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
