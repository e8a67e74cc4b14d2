"""Files that grow at their end and are read at any place: memory does not grow with them."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from astrosage.errors import DataError

_BLOCK_BYTES = 1 << 20
_BUFFER_BYTES = 1 << 16


class Appended:
    """Bytes in a file; the last few are in memory until they are asked for or many.

    Args:
        file: Where they outlive this process; what is in it already counts once :meth:`restore`
            says so. None: a temporary file.
        folder: Where a temporary file lies; None: in the system's folder for them.

    Attributes:
        end: How many bytes there are.
    """

    def __init__(self, file: Path | None = None, folder: Path | None = None) -> None:
        self._path = file
        self._file = _opened(file, folder)
        weakref.finalize(self, self._file.close)
        self._buffer = bytearray()  # of what comes after what is written
        self.end = 0

    def add(self, data: bytes) -> int:
        """Add at the end; the place where they begin."""
        place = self.end
        self._buffer += data
        self.end += len(data)
        if len(self._buffer) >= _BUFFER_BYTES:
            self.stored()
        return place

    def stored(self) -> int:
        """How many bytes there are, now that all of them are in the file."""
        written = self.end - len(self._buffer)
        while self._buffer:  # a write may take a part
            count = os.pwrite(self._file.fileno(), self._buffer, written)
            written += count
            del self._buffer[:count]
        return self.end

    def read(self, count: int, place: int) -> bytes:
        """Up to so many bytes from a place on; fewer at the end."""
        if place + count > self.end - len(self._buffer):
            self.stored()
        return os.pread(self._file.fileno(), min(count, self.end - place), place)

    def restore(self, end: int) -> None:
        """Take up what an interrupted run had written; what the file has beyond that goes.

        Raises:
            DataError: If it has less.
        """
        size = os.fstat(self._file.fileno()).st_size
        if size < end:
            raise DataError(
                f"{self._path}: of an interrupted run {size} bytes are left, {end} were written",
                "`astroctl resume`: the stage starts over",
            )
        os.ftruncate(self._file.fileno(), end)
        self._buffer.clear()
        self.end = end

    def reader(self) -> BinaryIO:
        """All of it from the beginning, with a buffer; nothing is to be added meanwhile."""
        self.stored()
        found = os.fdopen(os.dup(self._file.fileno()), "rb")
        found.seek(0)
        return found


class Table:
    """Rows of ``width`` numbers each, ``[n, width]``.

    Args:
        width: Numbers in a row.
        dtype: Of a number.
        file: As in :class:`Appended`.
    """

    def __init__(self, width: int, dtype: DTypeLike, file: Path | None = None) -> None:
        self._bytes = Appended(file)
        self.width, self.dtype = width, np.dtype(dtype)
        self._row_bytes = width * self.dtype.itemsize

    def __len__(self) -> int:
        return self._bytes.end // self._row_bytes

    def add(self, rows: NDArray[Any] | bytes) -> None:
        """Add one row or several; those in bytes are taken as they are."""
        if not isinstance(rows, bytes):
            rows = np.asarray(rows, self.dtype).reshape(-1, self.width).tobytes()
        self._bytes.add(rows)

    def stored(self) -> int:
        """How many rows there are, now that all of them are in the file."""
        return self._bytes.stored() // self._row_bytes

    def take(self, places: Sequence[int]) -> NDArray[Any]:
        """``[len(places), width]`` the rows at some places."""
        size = self._row_bytes
        data = b"".join([self._bytes.read(size, place * size) for place in places])
        return np.frombuffer(data, self.dtype).reshape(-1, self.width)

    def blocks(self, first: int = 0) -> Iterator[NDArray[Any]]:
        """All rows from one on, ``[about 1 MiB, width]`` at a time."""
        count = max(1, _BLOCK_BYTES // self._row_bytes)
        for place in range(first, len(self), count):
            data = self._bytes.read(count * self._row_bytes, place * self._row_bytes)
            yield np.frombuffer(data, self.dtype).reshape(-1, self.width)

    def restore(self, count: int) -> None:
        """Take up the rows that an interrupted run had written.

        Raises:
            DataError: If not all are there.
        """
        self._bytes.restore(count * self._row_bytes)


def named(folder: Path | None, name: str) -> Path | None:
    """A file of a folder; without one None, so a temporary file."""
    return folder / name if folder else None


def _opened(file: Path | None, folder: Path | None) -> BinaryIO:
    if file is None:
        return cast(BinaryIO, tempfile.TemporaryFile(buffering=0, dir=folder))
    file.touch()
    return cast(BinaryIO, file.open("r+b", buffering=0))
