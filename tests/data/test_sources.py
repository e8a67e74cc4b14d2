from __future__ import annotations

import gzip
import hashlib
import re
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
import zstandard

from astrosage.data import sources
from astrosage.data.sources import check_source, count_records, digest, expand, read_records
from astrosage.data.tally import Tally
from astrosage.errors import DataError, NotFoundError, SpecError, StorageError
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


def test_of_a_large_source_the_beginning_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "abcdef"}\n' * 3 + '{"text": \n')
    source = Source(path=f"{tmp_path}/a.jsonl")
    monkeypatch.setattr(sources, "CHECKED_CHARACTERS", 12)
    assert check_source(source, "text", FIELD) == 3
    monkeypatch.setattr(sources, "CHECKED_CHARACTERS", 18)
    with pytest.raises(DataError, match="line 4"):
        check_source(source, "text", FIELD)


def test_digest_is_of_the_bytes(folder: Path) -> None:
    expected = hashlib.sha256((folder / "b.md").read_bytes()).hexdigest()
    assert digest(Source(path=f"{folder}/*.md")) == [(f"{folder}/b.md", expected)]


def test_the_command_line_pays_for_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "transformers", "fsspec", "lxml", "pyarrow", "pylatexenc")
    code = (
        "import sys, astrosage.data.sources; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_compression_reads_alike(tmp_path: Path) -> None:
    line = b'{"text": "A star."}\n'
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(line))
    (tmp_path / "b.jsonl.zst").write_bytes(zstandard.compress(line))
    (tmp_path / "c.md.zst").write_bytes(zstandard.compress(b"A star."))
    source = Source(path=f"{tmp_path}/*")
    assert [r.text for r in read_records(source, "text", FIELD)] == ["A star."] * 3
    assert count_records(source, FIELD) == 3


def test_a_named_kind_reads_any_ending(tmp_path: Path) -> None:
    (tmp_path / "README").write_text("Read me.")
    (tmp_path / "data.json").write_text('{"text": "A star."}\n')
    assert check_source(Source(path=f"{tmp_path}/README", kind="text"), "text", FIELD) == 1
    assert check_source(Source(path=f"{tmp_path}/data.json", kind="jsonl"), "text", FIELD) == 1


@pytest.mark.parametrize(
    ("name", "hint"),
    [("a.tar", "kind: arxiv"), ("a.xml.bz2", "kind: wikipedia"), ("index.cnxml", "kind: cnxml")],
)
def test_kinds_that_must_be_named_are_offered(tmp_path: Path, name: str, hint: str) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(DataError) as caught:
        check_source(Source(path=f"{tmp_path}/{name}"), "text", FIELD)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("name", "pattern", "hint"),
    [
        (
            "a.pdf",
            "a.pdf",
            "LaTeX source, which keeps its mathematics, or convert it to text; allowed",
        ),
        ("a.json.gz", "*.gz", "an object a line, .* or narrow the pattern; allowed"),
        ("a.docx", "a.docx", "pandoc"),
        ("a.zip", "a.zip", "unpack it"),
        ("a.ipynb", "*", "narrow the pattern; allowed"),
    ],
)
def test_what_people_have_comes_with_advice(
    tmp_path: Path, name: str, pattern: str, hint: str
) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(DataError) as caught:
        check_source(Source(path=f"{tmp_path}/{pattern}"), "text", FIELD)
    assert re.search(hint, caught.value.hint)


def test_a_kind_without_chats(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<p>x")
    with pytest.raises(DataError, match=r"a\.html is html, which `format: chat` does not read"):
        check_source(Source(path=f"{tmp_path}/a.html", kind="html"), "chat", FIELD)


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    good = '{"text": "A star."}\n'
    (tmp_path / "a.jsonl").write_text(good * 5 + '{"txt": 1}\n' + good * 14 + "{\n")
    return tmp_path / "a.jsonl"


def test_what_cannot_be_read_is_skipped_on_demand_and_counted(lines: Path) -> None:
    source = Source(path=str(lines), on_error="skip", max_failures=0.1)
    tally = Tally()
    assert sum(1 for _ in read_records(source, "text", FIELD, tally)) == 19
    assert tally.counts == {"failed": 2}
    assert "line 6: no field `text`" in tally.examples["failed"][0]
    with pytest.raises(DataError, match=r"a\.jsonl, line 6: no field `text`"):
        list(read_records(Source(path=str(lines)), "text", FIELD))


def test_too_many_failures_end_the_source(lines: Path) -> None:
    source = Source(path=str(lines), on_error="skip")
    with pytest.raises(
        DataError, match=r"sources\[0\]: 2 of 21 records .* more than `maxFailures` 0\.05: .*line 6"
    ) as caught:
        list(read_records(source, "text", FIELD))
    assert "raise `maxFailures`" in caught.value.hint


def test_many_failures_end_the_source_early(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "A star."}\n' * 100 + "{\n" * 10_000)
    source = Source(path=f"{tmp_path}/a.jsonl", on_error="skip")
    tally = Tally()
    with pytest.raises(DataError, match="of 106 records"):
        list(read_records(source, "text", FIELD, tally))
    assert tally.counts["failed"] == 6


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(StorageError, match=r"hf://datasets/a/b/x\.parquet cannot be") as caught:
        expand("hf://datasets/a/b/x.parquet", "f")
    assert "HF_ENDPOINT" in caught.value.hint


def test_lists_beside_the_texts_are_hashed_too(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"x")
    (tmp_path / "ids.txt").write_text("0704.0001\n")
    source = Source.model_validate(
        {
            "path": f"{tmp_path}/a.tar",
            "kind": "arxiv",
            "arxiv": {"exclude": {"ids": f"{tmp_path}/ids.txt"}},
        }
    )
    assert [path for path, _ in digest(source)] == [f"{tmp_path}/a.tar", f"{tmp_path}/ids.txt"]
