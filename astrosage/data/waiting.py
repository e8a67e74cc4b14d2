"""Documents that wait on disk until it is known how often they are seen."""

from __future__ import annotations

import pickle
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from astrosage.data.shards import Piece


def held_open(file: Path | None) -> BinaryIO:
    """A file to write and read, without a buffer: named, so that it outlives this process, or not.

    Args:
        file: Where; what is in it stays. None: a temporary file.
    """
    if file is None:
        return cast(BinaryIO, tempfile.TemporaryFile(buffering=0))
    file.touch()
    return cast(BinaryIO, file.open("r+b", buffering=0))


class Waiting:
    """Pieces by document, in the order they came; memory does not grow with them.

    Args:
        file: Where they wait, so that an interrupted run can go on; None: a temporary file.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = held_open(file)
        weakref.finalize(self, self._file.close)
        self._count = self._end = 0

    def add(self, source: int, key: bytes, pieces: list[Piece]) -> None:
        """Take up a document.

        Args:
            source: The number of its account.
            key: Its hash.
            pieces: Its tokens.
        """
        data = memoryview(pickle.dumps((source, key, pieces), pickle.HIGHEST_PROTOCOL))
        self._file.seek(self._end)
        self._end += len(data)
        while data:  # without a buffer, a write may take a part
            data = data[self._file.write(data) :]
        self._count += 1

    def size(self) -> tuple[int, int]:
        """How many documents wait, and in how many bytes; :meth:`restore` takes it."""
        return self._count, self._end

    def restore(self, count: int, end: int) -> None:
        """Take up what an interrupted run had written; what the file has beyond that goes."""
        self._count, self._end = count, end
        self._file.truncate(end)
        self._file.seek(end)

    def __iter__(self) -> Iterator[tuple[int, bytes, list[Piece]]]:
        with open(self._file.fileno(), "rb", closefd=False) as file:
            file.seek(0)
            for _ in range(self._count):
                yield pickle.load(file)
