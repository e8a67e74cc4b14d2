"""Multiple-choice questions: read from JSONL, CSV or Parquet and checked row by row.

Light enough for the command line, which reads them before a job is submitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from astrosage.bench.layouts import Columns, question, recognise
from astrosage.bench.question import LETTERS, MAX_CHOICES, MIN_CHOICES, Question
from astrosage.bench.tables import rows
from astrosage.data.sources import expand
from astrosage.errors import DataError
from astrosage.spec.bench import Layout

__all__ = ["LETTERS", "MAX_CHOICES", "MIN_CHOICES", "Question", "load"]
# So many equal keys in a row are no chance: with four options it is one in 10^11.
_SUSPICIOUS = 20


def load(
    path: str | Path, field: str = "questions", layout: Layout | None = None
) -> list[Question]:
    """Read a question file.

    Args:
        path: JSONL or CSV, plain or ``.gz``, or Parquet; local, a pattern or a URI.
        field: Where the run file names it, for messages.
        layout: What its columns mean; None means that their names say it.

    Returns:
        The questions in the file's order, with keys all of them or none.

    Raises:
        NotFoundError: If there is no such file.
        DataError: Naming the file and, where it applies, line and field of the first fault.
    """
    questions: list[Question] = []
    seen: dict[str, str] = {}
    files = expand(str(path), field)
    for file in files:
        # Rows without an id are named by their number, from 0 as data viewers count.
        prefix = f"{Path(str(file)).stem}:" if len(files) > 1 else ""
        found = _read(file, field, layout, prefix, seen)
        _check_keys(found, f"{field}: {file}")
        questions += found
    _check_all_or_none(questions, f"{field}: {path}")
    return questions


def _read(
    file: Path | str, field: str, layout: Layout | None, prefix: str, seen: dict[str, str]
) -> list[Question]:
    found: list[Question] = []
    columns: Columns | None = None
    for where, data in rows(file, field):
        columns = columns or recognise(data, layout, where)
        item = question(data, columns, f"{prefix}{len(found)}", where)
        if item.id in seen:
            raise DataError(
                f"{where}: id `{item.id}` is already used at {seen[item.id]}",
                "give each question an id of its own",
            )
        seen[item.id] = where
        found.append(item)
    return found


def _check_keys(found: Sequence[Question], where: str) -> None:
    """Refuse keys that were filled in by a program for want of real ones."""
    keys = {q.answer for q in found}
    if len(found) < _SUSPICIOUS or len(keys) != 1 or None in keys:
        return
    key = found[0].answer
    assert key is not None
    raise DataError(
        f"{where}: the key of all {len(found)} questions is {LETTERS[key]}, which no real file has",
        "files whose keys are withheld have been filled up so, and any accuracy on them means "
        "nothing: remove the key's column, and the answers are written to predictions.jsonl; or "
        "put in the real keys",
    )


def _check_all_or_none(found: Sequence[Question], where: str) -> None:
    without = [q.id for q in found if q.answer is None]
    if without and len(without) < len(found):
        raise DataError(
            f"{where}: {len(without)} of {len(found)} questions have no key (first: {without[0]})",
            "give all of them keys, or none",
        )
