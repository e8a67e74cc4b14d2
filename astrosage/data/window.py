"""Packing as the pieces come, so that memory does not grow with the corpus.

Pieces wait until a window of them is full: 2**24 tokens, or 8,192 rows of them where that is more,
but at most 2**27 tokens (about 1 GiB) or 2**19 pieces. Each window is packed by itself, so no row
holds pieces of two. Larger ones would save a tenth of a percent of padding at most, and keep
workers waiting while they are packed. A window depends on the order of the records alone.

For a run that goes on after an interruption, the pieces that wait are stored part after part.
"""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from astrosage.data.checkpoints import load
from astrosage.data.shards import (
    DOCUMENTS,
    ROWS_PER_SHARD,
    Piece,
    Rows,
    ShardWriter,
    SplitSummary,
    count_tokens,
    pack_group,
    summary,
)

WINDOW_PIECES = 1 << 19
WINDOW_TOKENS = 1 << 24, 1 << 27
WINDOW_ROWS = ROWS_PER_SHARD


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
        self._folder, self._name, self._row_length = folder, name, row_length
        self._writer = ShardWriter(folder, name, row_length, pad_id, ROWS_PER_SHARD)
        self._groups: dict[str, list[Piece]] = {}
        self._counts: dict[str, tuple[int, int]] = {}
        self._pieces = self._tokens = 0
        fewest, most = WINDOW_TOKENS
        self._most_tokens = min(most, max(fewest, WINDOW_ROWS * row_length))
        self._rows: list[Rows] = []
        # Of the pieces that wait, those that are not stored yet, and since which part they are.
        self._fresh: list[tuple[str, Sequence[Piece]]] = []
        self._since: int | None = None
        self.documents = self.learned_tokens = 0

    def add(self, pieces: Sequence[Piece], group: str = "") -> None:
        """Take up a document's pieces; rows have pieces of one group only."""
        self._take(group, pieces)
        self._fresh.append((group, pieces))
        if self._pieces >= WINDOW_PIECES or self._tokens >= self._most_tokens:
            self._flush()

    def finish(self) -> SplitSummary:
        """Write what is left."""
        self._flush()
        self._writer.close()
        return summary(self._writer, self._rows, self.documents)

    def save(self, folder: Path, part: int) -> dict[str, Any]:
        """Store what waits, but for what earlier parts have; the rest of the state.

        Args:
            folder: Where parts are stored.
            part: Its number; they ascend.
        """
        first = self._since is None
        if first:
            self._since = part
        writer = self._writer.state()
        rows = writer.pop("waiting")
        with self._part(folder, part).open("wb") as file:
            stored = (rows if first else None, self._fresh)
            pickle.dump(stored, file, pickle.HIGHEST_PROTOCOL)
        self._fresh = []
        return {
            "since": self._since,
            "last": part,
            "writer": writer,
            "rows": self._rows,
            "documents": self.documents,
            "learned": self.learned_tokens,
        }

    def forget(self, folder: Path) -> None:
        """Delete the parts that are no longer needed."""
        for file in sorted(folder.glob(f"*.{self._name}")):
            if self._since is not None and int(file.stem) < self._since:
                file.unlink()

    def restore(self, folder: Path, state: dict[str, Any]) -> None:
        """Go on where an interrupted run was."""
        self._since = state["since"]
        for part in range(state["since"], state["last"] + 1):
            rows, added = load(self._part(folder, part))
            if part == state["since"]:
                self._writer.restore({**state["writer"], "waiting": rows})
            for group, pieces in added:
                self._take(group, pieces)
        self._rows, self.documents = state["rows"], state["documents"]
        self.learned_tokens = state["learned"]

    def _part(self, folder: Path, part: int) -> Path:
        return folder / f"{part:06d}.{self._name}"

    def place(self, folder: Path) -> None:
        """Give the finished files their place; what was there of the documents stays.

        They also stay where they are, as far as files can be in two places, so that a run that ends
        before all have theirs can go on.
        """
        for file in sorted(self._folder.iterdir()):
            if file.name != DOCUMENTS:
                _link(file, folder / file.name)
                continue
            with file.open("rb") as new, (folder / DOCUMENTS).open("ab") as known:
                shutil.copyfileobj(new, known)

    def _take(self, group: str, pieces: Sequence[Piece]) -> None:
        tokens, learned = count_tokens(pieces)
        known = self._counts.get(group, (0, 0))
        self._counts[group] = known[0] + tokens, known[1] + learned
        self._groups.setdefault(group, []).extend(pieces)
        self._pieces += len(pieces)
        self._tokens += tokens
        self.learned_tokens += learned

    def _flush(self) -> None:
        for group, pieces in self._groups.items():
            rows = pack_group(pieces, self._row_length)
            counts = self._counts[group]
            self._note(Rows(group, self._writer.sequences, len(rows), *counts))
            self._writer.add(rows)
        self._groups, self._counts = {}, {}
        self._pieces = self._tokens = 0
        self._fresh, self._since = [], None

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


def _link(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(file, target)
