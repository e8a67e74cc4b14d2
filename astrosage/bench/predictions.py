"""Answers to questions without keys: a file for those who have the keys."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from astrosage.bench.inputs import NamedSet
from astrosage.bench.question import LETTERS
from astrosage.bench.summary import headline_of

NAME = "predictions.jsonl"


def write(
    folder: Path, sets: Sequence[NamedSet], judged: Sequence[dict[str, Any]]
) -> dict[str, Any] | None:
    """Write the model's answers to all sets without keys, a line each, in the files' order.

    Of several methods the one that heads the tables is taken. Confidence is the probability of the
    choice among the options; generated answers have none.

    Args:
        folder: The artefact.
        sets: All question sets.
        judged: All records.

    Returns:
        For the summary: the file, its sets, the method and how many answers there are, chosen or
        not; None where every set has keys.
    """
    names = [s.name for s in sets if not s.has_keys]
    mine = [r for r in judged if r["set"] in names and "model" in r]
    if not mine:
        return None
    method = headline_of({r["method"] for r in mine})
    lines = [_line(r) for r in mine if r["method"] == method]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (folder / NAME).write_text(text, encoding="utf-8")
    return {
        "file": NAME,
        "sets": names,
        "method": method,
        "answers": len(lines),
        "withoutChoice": sum(line["letter"] is None for line in lines),
    }


def _line(record: dict[str, Any]) -> dict[str, Any]:
    found = record["model"]
    chosen = found["chosen"]
    return {
        "set": record["set"],
        "id": record["id"],
        "letter": None if chosen is None else LETTERS[chosen],
        "confidence": found.get("confidence"),
    }
