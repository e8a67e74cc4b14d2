"""Documents that wait on disk until it is known how often they are seen."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

from astrosage.data.appended import Appended
from astrosage.data.shards import Piece


class Waiting:
    """Pieces by document, in the order they came; memory does not grow with them.

    Args:
        file: Where they wait, so that an interrupted run can go on; None: a temporary file.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = Appended(file)
        self._count = 0

    def add(self, source: int, key: bytes, pieces: list[Piece]) -> None:
        """Take up a document.

        Args:
            source: The number of its account.
            key: Its hash.
            pieces: Its tokens.
        """
        self._file.add(pickle.dumps((source, key, pieces), pickle.HIGHEST_PROTOCOL))
        self._count += 1

    def size(self) -> tuple[int, int]:
        """How many documents wait, and in how many bytes; :meth:`restore` takes it."""
        return self._count, self._file.stored()

    def restore(self, count: int, end: int) -> None:
        """Take up what an interrupted run had written."""
        self._file.restore(end)
        self._count = count

    def __iter__(self) -> Iterator[tuple[int, bytes, list[Piece]]]:
        with self._file.reader() as file:
            for _ in range(self._count):
                yield pickle.load(file)
