"""JSON lines: a record a line."""

from __future__ import annotations

from collections.abc import Iterator

from astrosage.data.formats.base import File, Reading
from astrosage.data.reading import empty, read_lines
from astrosage.data.records import Record, parse_line


def read(files: list[File], reading: Reading) -> Iterator[Record]:
    """See :class:`~astrosage.data.formats.base.Reader`."""
    for file in reading.each(files):
        yield from _read_file(file, reading)


def _read_file(file: File, reading: Reading) -> Iterator[Record]:
    lines = size = 0
    for number, line in read_lines(file, reading.limits, reading.tally):
        size += len(line)
        if line.strip():
            lines += 1
            with reading.attempt():
                field, layout = reading.source.text_field, reading.layout
                yield parse_line(line, str(file), number, reading.format, field, layout)
    if not lines:
        with reading.attempt():
            raise empty(file, size)
