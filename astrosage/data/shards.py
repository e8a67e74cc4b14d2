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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from astrosage.data.pack import best_fit_decreasing

ROWS_PER_SHARD = 8192
ARRAYS = ("tokens", "segments", "mask")
DOCUMENTS = "documents.jsonl"


@dataclass(frozen=True, slots=True)
class Document:
    """Where a sequence of tokens comes from."""

    id: str
    source: str
    line: int


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
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
    """A split's pieces, in memory until they are packed."""

    name: str
    pieces: list[Piece] = field(default_factory=list)
    documents: int = 0


@dataclass(frozen=True)
class SplitSummary:
    """What a written split holds."""

    sequences: int
    tokens: int
    learned_tokens: int
    documents: int
    shards: int

    def to_dict(self) -> dict[str, int]:
        """As the manifest has it."""
        return {
            "sequences": self.sequences,
            "tokens": self.tokens,
            "learnedTokens": self.learned_tokens,
            "documents": self.documents,
            "shards": self.shards,
        }


def shard_path(folder: Path, split: str, shard: int, array: str) -> Path:
    """The file of one array of one shard."""
    return folder / f"{split}-{shard:05d}-{array}.npy"


def write_split(
    folder: Path,
    split: Split,
    row_length: int,
    pad_id: int,
    rows_per_shard: int = ROWS_PER_SHARD,
) -> SplitSummary:
    """Pack a split and write its shards; one shard's arrays are in memory at a time.

    Args:
        folder: Where to; must exist.
        split: The pieces.
        row_length: T.
        pad_id: Token id of padding.
        rows_per_shard: Most rows in a file.
    """
    rows = best_fit_decreasing([len(p.ids) for p in split.pieces], row_length)
    shards = 0
    with (folder / DOCUMENTS).open("a", encoding="utf-8") as documents:
        for shards, chunk in enumerate(_chunks(rows, rows_per_shard), 1):
            packed = [[split.pieces[i] for i in row] for row in chunk]
            arrays = _arrays(packed, row_length, pad_id)
            for name, array in zip(ARRAYS, arrays, strict=True):
                np.save(shard_path(folder, split.name, shards - 1, name), array)
            _write_documents(documents, split.name, (shards - 1) * rows_per_shard, packed)
    return SplitSummary(
        sequences=len(rows),
        tokens=sum(len(p.ids) for p in split.pieces),
        learned_tokens=sum(int(p.learned.sum()) for p in split.pieces),
        documents=split.documents,
        shards=shards,
    )


def _chunks(rows: list[list[int]], size: int) -> Iterator[list[list[int]]]:
    for i in range(0, len(rows), size):
        yield rows[i : i + size]


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
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
