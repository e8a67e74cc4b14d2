"""What stands in a prepare stage's shards, as text: for ``astroctl data inspect``.

Run as a program of its own (``python -m astrosage.data.inspection``), since the command line loads
neither numpy nor a tokenizer. Prints one JSON object; errors as ``{"error": …, "hint": …}`` with
the exit code of their kind.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrosage.context import StageContext
from astrosage.data.loader import PackedDataset
from astrosage.data.shards import DOCUMENTS
from astrosage.errors import AstroError, NotFoundError
from astrosage.runs.directory import RunDirectory

_LISTED = 20
Span = list[Any]  # [text, whether it is learnt]


class Inspection:
    """One split of a stage's shards.

    Args:
        context: Of the stage.
        split: ``train`` or ``validation``.

    Raises:
        AstroError: If the stage has no shards or the model no tokenizer.
    """

    def __init__(self, context: StageContext, split: str) -> None:
        from tokenizers import Tokenizer

        self._split = split
        self._data = PackedDataset(context.shards_path(context.stage_name), split)
        body = context.stage.prepare
        assert body is not None
        self._is_chat = body.format == "chat"
        file = context.model_path(body.model) / "tokenizer.json"
        if not file.is_file():
            raise NotFoundError(
                f"{file}: no such file, so tokens cannot be read", "keep the model where it was"
            )
        self._tokenizer = Tokenizer.from_file(str(file))

    def summary(self) -> dict[str, Any]:
        """The splits, and the first records of this one."""
        records: dict[tuple[str, str, int], int] = {}
        for row in self._rows():
            for document in row["documents"]:
                key = (document["id"], document["source"], document["line"])
                if key not in records and len(records) == _LISTED:
                    break
                records[key] = records.get(key, 0) + document["tokens"]
        return {
            "splits": self._data.manifest["splits"],
            "records": [
                {"number": i, "id": key[0], "source": key[1], "line": key[2], "tokens": tokens}
                for i, (key, tokens) in enumerate(records.items())
            ],
        }

    def pack(self, number: int) -> dict[str, Any]:
        """A row: its documents in order, each with its text and which of it is learnt."""
        if not 0 <= number < len(self._data):
            raise NotFoundError(
                f"--pack {number}: the {self._split} split has {len(self._data)} packs",
                f"use 0 to {len(self._data) - 1}" if len(self._data) else "name the other split",
            )
        row = next(r for r in self._rows() if r["row"] == number)
        batch = self._data.rows([number])
        documents = [
            {**document, "spans": self._spans(batch.tokens[0][here], batch.mask[0][here])}
            for segment, document in enumerate(row["documents"], 1)
            for here in [batch.segments[0] == segment]
        ]
        padding = int((batch.segments[0] == 0).sum())
        return {"pack": number, "documents": documents, "padding": padding}

    def record(self, wanted: str) -> dict[str, Any]:
        """A record by its number or id: its parts put together, copies left out.

        A chat's parts do not go on from one another, so there are ``sequences`` beside ``spans``.
        """
        parts: dict[int, tuple[int, int]] = {}
        chosen: tuple[str, str, int] | None = None
        seen: dict[tuple[str, str, int], None] = {}
        for row in self._rows():
            for segment, document in enumerate(row["documents"], 1):
                key = (document["id"], document["source"], document["line"])
                number = str(len(seen)) if key not in seen else None
                seen.setdefault(key)
                if chosen is None and wanted in (number, document["id"]):
                    chosen = key
                if key == chosen:
                    parts.setdefault(document["part"], (row["row"], segment))
        if chosen is None:
            raise NotFoundError(
                f"--record {wanted}: the {self._split} split has no such record",
                f"give an id, or a number from 0 to {len(seen) - 1}",
            )
        pieces = [self._piece(*parts[part]) for part in sorted(parts)]
        tokens, mask = (np.concatenate([p[i] for p in pieces]) for i in (0, 1))
        return {
            "record": dict(zip(("id", "source", "line"), chosen, strict=True)),
            "packs": sorted({row for row, _ in parts.values()}),
            "tokens": len(tokens),
            "learned": int(mask.sum()),
            "spans": self._spans(tokens, mask),
            **({"sequences": [self._spans(*p) for p in pieces]} if self._is_chat else {}),
        }

    def _piece(self, row: int, segment: int) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        batch = self._data.rows([row])
        here = batch.segments[0] == segment
        return batch.tokens[0][here], batch.mask[0][here]

    def _spans(self, tokens: NDArray[np.int32], mask: NDArray[np.uint8]) -> list[Span]:
        """Text in runs of tokens that are, or are not, learnt."""
        borders = [0, *(np.flatnonzero(np.diff(mask)) + 1).tolist(), len(tokens)]
        return [
            [
                self._tokenizer.decode(tokens[a:b].tolist(), skip_special_tokens=False),
                bool(mask[a]),
            ]
            for a, b in pairwise(borders)
            if b > a
        ]

    def _rows(self) -> Iterator[dict[str, Any]]:
        with (self._data.folder / DOCUMENTS).open(encoding="utf-8") as file:
            for line in file:
                row: dict[str, Any] = json.loads(line)
                if row["split"] == self._split:
                    yield row


def inspect(run: str, stage: str, split: str, record: str | None, pack: int | None) -> Any:
    """What is asked for, as plain data.

    Args:
        run: URI of the run directory.
        stage: A prepare stage of it.
        split: ``train`` or ``validation``.
        record: A record's id or number; None: no record.
        pack: A row's number; without either, a summary.
    """
    job = RunDirectory(run).job()
    found = Inspection(StageContext(job.to_yaml_dict(), stage, run, key=""), split)
    if record is not None:
        return found.record(record)
    return found.summary() if pack is None else found.pack(pack)


def main() -> int:
    """Read the arguments, print the answer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("stage")
    parser.add_argument("--split", default="train")
    parser.add_argument("--record")
    parser.add_argument("--pack", type=int)
    given = parser.parse_args()
    try:
        answer = inspect(given.run, given.stage, given.split, given.record, given.pack)
    except AstroError as error:
        print(json.dumps({"error": error.message, "hint": error.hint}))
        return error.exit_code
    print(json.dumps(answer, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
