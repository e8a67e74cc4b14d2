"""Packing as the pieces come, so that memory does not grow with the corpus.

Pieces wait until a window of them is full: 2**19 pieces or 2**27 tokens, about 1 GiB. Each window
is packed by itself, so a corpus of one window, as most are, is packed as a whole; of a larger one
no row holds pieces of two windows. A window depends on the order of the records alone.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from astrosage.data.shards import (
    DOCUMENTS,
    Piece,
    Rows,
    ShardWriter,
    SplitSummary,
    count_tokens,
    pack_group,
    summary,
)

WINDOW_PIECES = 1 << 19
WINDOW_TOKENS = 1 << 27
_PREFIX, _SUFFIX = ".shards.", ".scratch"


@contextmanager
def scratch(place: Path | None) -> Iterator[Path]:
    """A folder for unfinished shards; what an interrupted run has left there goes.

    Args:
        place: The stage's folder, so that finished files need not be copied; None: it is no folder.
    """
    if place is not None:
        place.mkdir(parents=True, exist_ok=True)
        for old in place.glob(f"{_PREFIX}*{_SUFFIX}"):
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(_SUFFIX, _PREFIX, place) as folder:
        yield Path(folder)


class WindowedSplit:
    """A split that is written while it is filled.

    Args:
        folder: For its shards; must exist and be empty.
        name: ``train`` or ``validation``.
        row_length: T.
        pad_id: Token id of padding.

    Attributes:
        documents: How many documents its pieces come from.
        learned_tokens: Tokens that are targets.
    """

    def __init__(self, folder: Path, name: str, row_length: int, pad_id: int) -> None:
        self._folder, self._row_length = folder, row_length
        self._writer = ShardWriter(folder, name, row_length, pad_id)
        self._groups: dict[str, list[Piece]] = {}
        self._pieces = self._tokens = 0
        self._rows: list[Rows] = []
        self.documents = self.learned_tokens = 0

    def add(self, pieces: Sequence[Piece], group: str = "") -> None:
        """Take up a document's pieces; rows have pieces of one group only."""
        tokens, learned = count_tokens(pieces)
        self._groups.setdefault(group, []).extend(pieces)
        self._pieces += len(pieces)
        self._tokens += tokens
        self.learned_tokens += learned
        if self._pieces >= WINDOW_PIECES or self._tokens >= WINDOW_TOKENS:
            self._flush()

    def finish(self) -> SplitSummary:
        """Write what is left."""
        self._flush()
        self._writer.close()
        return summary(self._writer, self._rows, self.documents)

    def move(self, folder: Path) -> None:
        """Give the finished files their place; what was there of the documents stays."""
        for file in sorted(self._folder.iterdir()):
            if file.name != DOCUMENTS:
                shutil.move(file, folder / file.name)
                continue
            with file.open("rb") as new, (folder / DOCUMENTS).open("ab") as known:
                shutil.copyfileobj(new, known)

    def _flush(self) -> None:
        for group, pieces in self._groups.items():
            rows = pack_group(pieces, self._row_length)
            tokens, learned = count_tokens(pieces)
            self._note(Rows(group, self._writer.sequences, len(rows), tokens, learned))
            self._writer.add(rows)
        self._groups, self._pieces, self._tokens = {}, 0, 0

    def _note(self, rows: Rows) -> None:
        """Rows that go on with the same group are one entry."""
        last = self._rows[-1] if self._rows else None
        if last is None or last.group != rows.group:
            self._rows.append(rows)
            return
        self._rows[-1] = replace(
            last,
            count=last.count + rows.count,
            tokens=last.tokens + rows.tokens,
            learned_tokens=last.learned_tokens + rows.learned_tokens,
        )
