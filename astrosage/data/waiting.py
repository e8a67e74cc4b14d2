"""Documents that wait on disk until it is known how often they are seen."""

from __future__ import annotations

import pickle
import tempfile
import weakref
from collections.abc import Iterator

from astrosage.data.shards import Piece


class Waiting:
    """Pieces by document, in the order they came; memory does not grow with them."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as this
        weakref.finalize(self, self._file.close)
        self._count = 0

    def add(self, source: int, key: bytes, pieces: list[Piece]) -> None:
        """Take up a document.

        Args:
            source: The number of its account.
            key: Its hash.
            pieces: Its tokens.
        """
        pickle.dump((source, key, pieces), self._file, pickle.HIGHEST_PROTOCOL)
        self._count += 1

    def __iter__(self) -> Iterator[tuple[int, bytes, list[Piece]]]:
        self._file.seek(0)
        for _ in range(self._count):
            yield pickle.load(self._file)
