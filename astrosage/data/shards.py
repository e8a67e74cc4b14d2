"""The shard format and its writer.

::

    shards/
        train-00000-tokens.npy     int32 [N, T]
        train-00000-segments.npy   uint16 [N, T]  0 padding, 1..k the document's place in the row
        train-00000-mask.npy       uint8 [N, T]   1 where the token is learnt as a target
        validation-00000-…
        documents.jsonl            a line a row: which documents it holds
        report.json                what became of every record
        manifest.json              written last

``segments`` is int32 where T is over 65,535.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from astrosage.data.pack import best_fit_decreasing
from astrosage.data.pickled import Pickled

ROWS_PER_SHARD = 8192
ARRAYS = ("tokens", "segments", "mask")
DOCUMENTS = "documents.jsonl"
_LINE = json.JSONEncoder(ensure_ascii=False)  # json.dumps would make one a line


@dataclass(frozen=True, slots=True)
class Document(Pickled):
    """Where a sequence of tokens comes from."""

    id: str
    source: str
    line: int


@dataclass(frozen=True, slots=True, eq=False)
class Piece(Pickled):
    """A document, or one of the consecutive pieces of a long one.

    Attributes:
        document: Whose tokens these are.
        part: Which piece of it, from 0.
        ids: ``[n]`` token ids, n at most the row length.
        learned: ``[n]`` 1 where the token is a target.
    """

    document: Document
    part: int
    ids: NDArray[np.int32]
    learned: NDArray[np.uint8]


@dataclass
class Split:
    """A split's pieces, in memory until they are packed.

    Attributes:
        name: ``train`` or ``validation``.
        groups: Pieces by the group that they are packed in, in the order of the rows. A row has
            pieces of one group only.
        documents: How many documents they come from.
    """

    name: str
    groups: dict[str, list[Piece]] = field(default_factory=dict)
    documents: int = 0

    @property
    def pieces(self) -> list[Piece]:
        """The pieces of all groups."""
        return [piece for group in self.groups.values() for piece in group]

    def add(self, pieces: Sequence[Piece], group: str = "") -> None:
        """Take up a document's pieces."""
        self.groups.setdefault(group, []).extend(pieces)


@dataclass(frozen=True)
class Rows:
    """Consecutive rows that hold one group.

    Attributes:
        group: Its key in :class:`Split`.
        first: The first row.
        count: How many rows.
        tokens: Tokens in them, without padding.
        learned_tokens: Tokens that are targets.
    """

    group: str
    first: int
    count: int
    tokens: int
    learned_tokens: int


@dataclass(frozen=True)
class SplitSummary:
    """What a written split holds."""

    sequences: int
    tokens: int
    learned_tokens: int
    documents: int
    shards: int
    rows: tuple[Rows, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As the manifest has it."""
        return {
            "sequences": self.sequences,
            "tokens": self.tokens,
            "learnedTokens": self.learned_tokens,
            "documents": self.documents,
            "shards": self.shards,
        }

    def sources(self, names: Mapping[str, str]) -> list[dict[str, Any]]:
        """Which rows hold which source, as the manifest has it.

        Args:
            names: A short name for each group, which is a source's path.
        """
        return [
            {
                "name": names[rows.group],
                "path": rows.group,
                "first": rows.first,
                "count": rows.count,
                "tokens": rows.tokens,
                "learnedTokens": rows.learned_tokens,
            }
            for rows in self.rows
        ]


def shard_path(folder: Path, split: str, shard: int, array: str) -> Path:
    """The file of one array of one shard."""
    return folder / f"{split}-{shard:05d}-{array}.npy"


class ShardWriter:
    """Writes rows into shards as they come; less than a shard of them is in memory.

    Args:
        folder: Where to; must exist.
        split: Its name.
        row_length: T.
        pad_id: Token id of padding.
        rows_per_shard: Most rows in a file.

    Attributes:
        sequences: Rows so far.
        shards: Shards so far.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        row_length: int,
        pad_id: int,
        rows_per_shard: int = ROWS_PER_SHARD,
    ) -> None:
        self._folder, self._split = folder, split
        self._row_length, self._pad_id, self._most = row_length, pad_id, rows_per_shard
        self._waiting: list[list[Piece]] = []
        self.sequences = self.shards = 0

    def add(self, rows: Sequence[list[Piece]]) -> None:
        """Take up rows; full shards are written."""
        self._waiting += rows
        self.sequences += len(rows)
        while len(self._waiting) >= self._most:
            self._write(self._waiting[: self._most])
            del self._waiting[: self._most]

    def close(self) -> None:
        """Write what is left."""
        if self._waiting:
            self._write(self._waiting)
            self._waiting = []

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` takes, once the files are stored."""
        documents = self._folder / DOCUMENTS
        return {
            "waiting": self._waiting,
            "sequences": self.sequences,
            "shards": self.shards,
            "documents": documents.stat().st_size if documents.is_file() else 0,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where an interrupted writer was; what it wrote after that is written again."""
        self._waiting = state["waiting"]
        self.sequences, self.shards = state["sequences"], state["shards"]
        if state["documents"]:
            os.truncate(self._folder / DOCUMENTS, state["documents"])
        else:
            (self._folder / DOCUMENTS).unlink(missing_ok=True)

    def _write(self, rows: list[list[Piece]]) -> None:
        for name, array in zip(ARRAYS, _arrays(rows, self._row_length, self._pad_id), strict=True):
            path = shard_path(self._folder, self._split, self.shards, name)
            path.unlink(missing_ok=True)  # an interrupted run's may be linked to from elsewhere
            np.save(path, array)
        with (self._folder / DOCUMENTS).open("a", encoding="utf-8") as documents:
            _write_documents(documents, self._split, self.shards * self._most, rows)
        self.shards += 1


def pack_group(pieces: Sequence[Piece], row_length: int) -> list[list[Piece]]:
    """Pieces as rows."""
    rows = best_fit_decreasing([len(p.ids) for p in pieces], row_length)
    return [[pieces[i] for i in row] for row in rows]


def write_split(
    folder: Path,
    split: Split,
    row_length: int,
    pad_id: int,
    rows_per_shard: int = ROWS_PER_SHARD,
) -> SplitSummary:
    """Pack a split that is in memory, group by group, and write its shards.

    Args:
        folder: Where to; must exist.
        split: The pieces.
        row_length: T.
        pad_id: Token id of padding.
        rows_per_shard: Most rows in a file.
    """
    writer = ShardWriter(folder, split.name, row_length, pad_id, rows_per_shard)
    groups = []
    for name, pieces in split.groups.items():
        rows = pack_group(pieces, row_length)
        groups.append(Rows(name, writer.sequences, len(rows), *count_tokens(pieces)))
        writer.add(rows)
    writer.close()
    return summary(writer, groups, split.documents)


def summary(writer: ShardWriter, groups: Sequence[Rows], documents: int) -> SplitSummary:
    """What a closed writer has written."""
    return SplitSummary(
        sequences=writer.sequences,
        tokens=sum(g.tokens for g in groups),
        learned_tokens=sum(g.learned_tokens for g in groups),
        documents=documents,
        shards=writer.shards,
        rows=tuple(groups),
    )


def count_tokens(pieces: Sequence[Piece]) -> tuple[int, int]:
    """Tokens of pieces, and how many of them are targets."""
    return sum(len(p.ids) for p in pieces), sum(int(np.count_nonzero(p.learned)) for p in pieces)


def _arrays(
    rows: Sequence[Sequence[Piece]], row_length: int, pad_id: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Tokens, segments and mask, each ``[len(rows), row_length]``."""
    shape = (len(rows), row_length)
    tokens = np.full(shape, pad_id, dtype=np.int32)
    segments = np.zeros(shape, dtype=np.uint16 if row_length <= 0xFFFF else np.int32)
    mask = np.zeros(shape, dtype=np.uint8)
    for r, row in enumerate(rows):
        at = 0
        for segment, piece in enumerate(row, 1):
            end = at + len(piece.ids)
            tokens[r, at:end] = piece.ids
            segments[r, at:end] = segment
            mask[r, at:end] = piece.learned
            at = end
    return tokens, segments, mask


def _write_documents(
    file: TextIO, split: str, first_row: int, rows: Sequence[Sequence[Piece]]
) -> None:
    for row, pieces in enumerate(rows, first_row):
        entries = [
            {"id": p.document.id, "source": p.document.source, "line": p.document.line}
            | {"part": p.part, "tokens": len(p.ids)}
            for p in pieces
        ]
        line = {"split": split, "row": row, "documents": entries}
        file.write(_LINE.encode(line) + "\n")
