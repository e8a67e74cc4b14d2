from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from astrosage.data.sources import check_source, count_records
from astrosage.data.tally import Tally
from astrosage.errors import DataError, NotFoundError
from astrosage.spec.sources import Source
from tests.data.formats.reading import FIELD, read


def write(path: Path, columns: dict[str, list[Any]], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


def test_rows_are_records(tmp_path: Path) -> None:
    columns = {"id": ["x", "y"], "body": ["One.", "Two."], "license": ["CC0", None], "n": [1, 2]}
    file = write(tmp_path / "a.parquet", columns, row_group_size=1)
    records = read(file, textField="body")
    assert [(r.id, r.text, r.license, r.line) for r in records] == [
        ("x", "One.", "CC0", 1),
        ("y", "Two.", None, 2),
    ]
    assert count_records(Source(path=str(file)), FIELD) == 2


def test_chats(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    file = write(tmp_path / "a.parquet", {"messages": [messages]})
    (record,) = read(file, format="chat")
    assert record.texts == ("Why?", "So.")


def test_compressed_once_more(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", {"text": ["One."]})
    packed = tmp_path / "b.parquet.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert [r.text for r in read(packed)] == ["One."]


@pytest.mark.parametrize(
    ("columns", "message", "hint"),
    [
        ({"txt": ["a"]}, r"line 1: no field `text` \(fields found: `txt`\)", "mean `txt`"),
        ({"text": ["a", None]}, "line 2: field `text` is null", "textField"),
        ({"text": [[1]]}, "line 1: field `text` is a list", "textField"),
    ],
)
def test_unusable_rows(
    tmp_path: Path, columns: dict[str, list[Any]], message: str, hint: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(write(tmp_path / "a.parquet", columns))
    assert hint in caught.value.hint


def test_a_row_over_the_bound(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", {"text": ["short", "ü" * 600]})
    tally = Tally()
    options: dict[str, Any] = {"maxRecordBytes": 1024, "onError": "skip", "maxFailures": 0.5}
    assert [r.text for r in read(file, tally=tally, **options)] == ["short"]
    assert "a.parquet, line 2: larger than 1.0 KiB" in tally.examples["failed"][0]


@pytest.mark.parametrize("content", [b"", b"no parquet", b"PAR1" + b"x" * 100 + b"PAR1"])
def test_broken_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.parquet: broken Parquet: "):
        read(tmp_path / "a.parquet")


def test_a_cut_file(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", {"text": ["One."] * 1000})
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match="broken Parquet"):
        read(file)


def test_no_rows_and_no_file(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", {"text": pa.array([], pa.string())})
    with pytest.raises(DataError, match="is empty"):
        read(file)
    with pytest.raises(NotFoundError, match="no such file"):
        check_source(Source(path=f"{tmp_path}/b.parquet"), "text", FIELD)
