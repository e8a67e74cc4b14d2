"""Parquet: a record a row, read group by group.

Of a Parquet file only the columns that records are made of are read. It is opened at its end, so
one that is compressed once more is unpacked to a temporary file first.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

from astrosage.data.compressed import compression, needed
from astrosage.data.conversations.layouts import FIELDS
from astrosage.data.formats.base import File, Reading
from astrosage.data.reading import empty, opened, opened_raw, too_large
from astrosage.data.records import Record, make_record
from astrosage.errors import DataError, NotFoundError

_ROWS = 64


def read(files: list[File], reading: Reading) -> Iterator[Record]:
    """See :class:`~astrosage.data.formats.base.Reader`."""
    for file in reading.each(files):
        yield from _read_file(file, reading)


def count_rows(file: File, reading: Reading) -> int:
    """Rows, as the file itself says; nothing is checked."""
    with _seekable(file, reading) as stream:
        return int(_open(stream, file).metadata.num_rows)


def _read_file(file: File, reading: Reading) -> Iterator[Record]:
    arrow = needed("pyarrow", f"{file}: Parquet")
    with _seekable(file, reading) as stream:
        parquet = _open(stream, file)
        if not parquet.metadata.num_rows:
            raise empty(file, 0)
        columns = _columns(parquet, reading)
        number = 0
        try:
            for batch in parquet.iter_batches(batch_size=_ROWS, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    with reading.attempt():
                        yield _record(row, file, number, reading)
        except (arrow.ArrowException, OSError) as error:
            raise _broken(file, error) from None


def _record(row: dict[str, Any], file: File, number: int, reading: Reading) -> Record:
    field, layout = reading.source.text_field, reading.layout
    record = make_record(row, str(file), number, reading.format, field, layout)
    # A character is a byte at least, so most records need not be encoded to be measured.
    limit = reading.limits.record_bytes
    if sum(map(len, record.texts)) * 4 > limit and (
        sum(len(text.encode(errors="replace")) for text in record.texts) > limit
    ):
        raise too_large(f"{file}, line {number}", reading.limits)
    return record


def _columns(parquet: Any, reading: Reading) -> list[str]:
    names = list(parquet.schema_arrow.names)
    wanted = FIELDS if reading.format == "chat" else (reading.source.text_field,)
    # Without a wanted column, the first row is read whole so that the error lists the fields.
    known = any(name in names for name in wanted)
    return [n for n in names if n in (*wanted, "id", "license")] if known else names


def _open(stream: IO[bytes], file: File) -> Any:
    arrow = needed("pyarrow", f"{file}: Parquet")
    module = needed("pyarrow.parquet", f"{file}: Parquet")
    try:
        return module.ParquetFile(stream)
    except (arrow.ArrowException, OSError) as error:
        raise _broken(file, error) from None


def _broken(file: File, error: Exception) -> DataError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(f"{file}: broken Parquet: {reason}", "copy or download it again")


@contextmanager
def _seekable(file: File, reading: Reading) -> Iterator[IO[bytes]]:
    if compression(file):
        with tempfile.TemporaryFile() as spool, opened(file, reading.limits) as stream:
            shutil.copyfileobj(stream, spool)
            spool.seek(0)
            yield cast(IO[bytes], spool)
        return
    try:
        stream = opened_raw(file)
    except FileNotFoundError:
        raise NotFoundError(f"{file} does not exist", "check the path in the run file") from None
    with stream:
        yield stream
