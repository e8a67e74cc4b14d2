"""Plain text and Markdown: a file is a document, kept as it is."""

from __future__ import annotations

from collections.abc import Iterator

from astrosage.data.formats.base import File, Reading
from astrosage.data.reading import read_text
from astrosage.data.records import Record


def read(files: list[File], reading: Reading) -> Iterator[Record]:
    """See :class:`~astrosage.data.formats.base.Reader`."""
    for file in reading.each(files):
        with reading.attempt():
            text = read_text(file, reading.limits, reading.tally)
            yield Record(str(file).rsplit("/", 1)[-1], str(file), 1, text=text)
