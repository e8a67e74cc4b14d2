"""Question files as rows: JSONL, CSV and Parquet, each row with the place that it stands at."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

from astrosage.data.reading import empty, read_lines
from astrosage.errors import DataError, NotFoundError, SpecError

Row = tuple[str, dict[str, Any]]
# The columns of MMLU's own files, which have no header line.
HEADERLESS = ("question", "A", "B", "C", "D", "answer")
_NUMBERS = ("answer", "year")  # columns of a CSV whose digits are a number
_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods")
_MAGIC = b"PAR1"


def rows(file: Path | str, field: str) -> Iterator[Row]:
    """``(where, columns)`` of each row; the file's ending says how it is read, JSONL otherwise.

    Args:
        file: JSONL or CSV, plain or ``.gz``, or Parquet; local or a URI.
        field: Where the run file names it, for messages.

    Raises:
        NotFoundError: If there is no such file.
        DataError: Naming file and line of the first fault.
    """
    name = str(file).lower()
    if name.endswith(_SPREADSHEETS):
        raise DataError(
            f"{field}: {file} is a spreadsheet", "save it as CSV in UTF-8, and name that file"
        )
    if name.removesuffix(".gz").endswith(".parquet"):
        return _parquet(file, field)
    if name.removesuffix(".gz").endswith(".csv"):
        return _csv(file, field)
    return _jsonl(file, field)


def _jsonl(file: Path | str, field: str) -> Iterator[Row]:
    found, size = 0, 0
    for number, line in read_lines(file):
        size += len(line.encode())
        if not line.strip():
            continue
        found += 1
        where = f"{field}: {file}, line {number}"
        try:
            data = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{where}: broken JSON: {error.msg} at column {error.pos + 1}",
                "each line must be one whole JSON object",
            ) from None
        if not isinstance(data, dict):
            raise DataError(
                f"{where}: expected an object, found {kind(data)}",
                'a line is {"id": "q1", "question": "…", "choices": ["…", "…"], "answer": "A"}',
            )
        yield where, data
    if not found:
        raise empty(file, size)


def _csv(file: Path | str, field: str) -> Iterator[Row]:
    reader = csv.reader((line for _, line in read_lines(file)), strict=True)
    header: Sequence[str] | None = None
    found = 0
    where = f"{field}: {file}, line 1"
    try:
        for cells in reader:
            where = f"{field}: {file}, line {reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = _header(cells, where)
                if header is not HEADERLESS:
                    continue
            found += 1
            yield where, _record(header, cells, where)
    except csv.Error as error:
        raise DataError(
            f"{where}: broken CSV: {error}", "quote cells that hold commas, quotes or line breaks"
        ) from None
    if not found:
        raise empty(file, 0)


def _header(cells: Sequence[str], where: str) -> Sequence[str]:
    """The columns' names; those of MMLU's files where the first line is a question already."""
    names = [cell.strip() for cell in cells]
    if "question" in (name.casefold() for name in names):
        twice = next((n for n in names if names.count(n) > 1), None)
        if twice is not None:
            raise DataError(
                f"{where}: two columns are called `{twice}`", "give each column a name of its own"
            )
        return names
    if len(names) == len(HEADERLESS) and names[-1] in ("A", "B", "C", "D"):
        return HEADERLESS
    raise DataError(
        f"{where}: no column is called `question` (columns found: {', '.join(names)})",
        "name the columns in the first line: id, question, A, B, C, D, answer; only files of "
        "`question,A,B,C,D,letter` go without",
    )


def _record(header: Sequence[str], cells: Sequence[str], where: str) -> dict[str, Any]:
    if len(cells) != len(header):
        raise DataError(
            f"{where}: {len(cells)} cells, the header promises {len(header)} ({', '.join(header)})",
            "give each row as many cells as there are columns; quote cells that hold commas",
        )
    return {name: _cell(name, cell) for name, cell in zip(header, cells, strict=True)}


def _cell(name: str, text: str) -> Any:
    if name in _NUMBERS and text.strip().isascii() and text.strip().isdigit():
        return int(text)
    if name == "choices":
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return text
    return text


def _parquet(file: Path | str, field: str) -> Iterator[Row]:
    if str(file).lower().endswith(".gz"):
        raise DataError(
            f"{field}: {file}: Parquet is compressed in itself and is not read from .gz",
            "unpack it: `gunzip`",
        )
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise SpecError(
            f"{field}: {file}: reading Parquet needs pyarrow, which is not installed here",
            "pip install pyarrow, or write the questions as JSONL",
        ) from None
    found = 0
    with _binary(file) as stream:
        _check_whole(stream, file, field)
        try:
            table = parquet.ParquetFile(stream)
            for batch in table.iter_batches(batch_size=1024):
                for data in batch.to_pylist():
                    yield f"{field}: {file}, row {found}", data
                    found += 1
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise DataError(
                f"{field}: {file}: broken Parquet: {_first_line(error)}",
                "copy or download it again",
            ) from None
    if not found:
        raise empty(file, 0)


def _binary(file: Path | str) -> IO[bytes]:
    try:
        if isinstance(file, Path):
            return file.open("rb")
        import fsspec

        return cast(IO[bytes], fsspec.open(file, "rb").open())
    except FileNotFoundError:
        raise NotFoundError(f"{file} does not exist", "check the path in the run file") from None


def _check_whole(stream: IO[bytes], file: Path | str, field: str) -> None:
    """A Parquet file begins and ends with the same four bytes."""
    head = stream.read(4)
    size = stream.seek(0, 2)
    if size == 0:
        raise empty(file, 0)
    stream.seek(max(0, size - 4))
    tail = stream.read(4)
    stream.seek(0)
    if head != _MAGIC:
        raise DataError(
            f"{field}: {file} is no Parquet file: it begins with {head!r}",
            "if it begins with `vers`, it is a Git LFS pointer: fetch the file itself",
        )
    if tail != _MAGIC or size < 12:
        raise DataError(
            f"{field}: {file}: the Parquet file is cut off: its footer is missing ({size} bytes)",
            "copy or download it again",
        )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def kind(value: Any) -> str:
    """What a value is, in words for messages."""
    names = {dict: "an object", list: "a list", bool: "true or false", type(None): "null"}
    if isinstance(value, str):
        return f"the text `{value[:40]}`" if value.strip() else "empty text"
    return names.get(type(value), f"the number {value}")
