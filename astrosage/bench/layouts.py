"""What the columns of a question file mean: this project's layout and those of published sets."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from astrosage.bench.question import LETTERS, MAX_CHOICES, MIN_CHOICES, Question, folded
from astrosage.bench.tables import kind
from astrosage.bench.years import year_of
from astrosage.errors import DataError
from astrosage.spec.base import nearest
from astrosage.spec.bench import Layout

FORM = 'a question is {"id": "q1", "question": "…", "choices": ["…", "…", "…", "…"], "answer": "A"}'
_KEYS = ("answer", "key", "label")  # names of the key's column where options have columns
_SEVERAL = re.compile(r"\s*[A-J](?:\s*(?:[,;/&+]|and)?\s*[A-J])+\s*")


@dataclass(frozen=True)
class Columns:
    """How the rows of one file are read.

    Attributes:
        layout: Which of the known layouts.
        options: Columns that hold an option each, in their order; empty where a list holds them.
        key: The column of the key; None where there are no keys.
    """

    layout: Layout
    options: tuple[str, ...] = ()
    key: str | None = "answer"


def recognise(columns: Collection[str], layout: Layout | None, where: str) -> Columns:
    """The layout of a file from the columns of its first row.

    Args:
        columns: Their names.
        layout: What the run file says, which overrules what is found.
        where: For messages.

    Raises:
        DataError: If the columns are not those of the layout that was named.
    """
    lettered = tuple(letter for letter in LETTERS if letter in columns)
    if layout is None:
        if len(lettered) >= MIN_CHOICES and "choices" not in columns:
            layout = "astromlab"
        elif "subject" in columns and "choices" in columns and "id" not in columns:
            layout = "mmlu"
        else:
            layout = "astrosage"
    if layout == "astromlab" or (layout == "mmlu" and lettered and "choices" not in columns):
        if len(lettered) < MIN_CHOICES or lettered != tuple(LETTERS[: len(lettered)]):
            raise DataError(
                f"{where}: layout {layout} needs the columns question, A, B, C, D (columns found: "
                f"{', '.join(map(str, columns)) or 'none'})",
                "name the options' columns A, B, C, … without a gap, or choose another `layout`",
            )
        key = next((name for name in _KEYS if name in columns), None)
        return Columns(layout, lettered, key)
    return Columns(layout)


def question(data: dict[str, Any], columns: Columns, number: str, where: str) -> Question:
    """A row as a question.

    Args:
        data: The row's columns.
        columns: How they are read.
        number: The row's name if it has no ``id`` of its own and needs none.
        where: File and line, for messages.

    Raises:
        DataError: Naming place and field of the first fault.
    """
    choices = _lettered(data, columns, where) if columns.options else _listed(data, where)
    own_id = columns.layout in ("astrosage", "astro-qa") or data.get("id") is not None
    name = _identity(_required(data, "id", where), where) if own_id else number
    article = _optional(data, "article", where)
    topic = _optional(data, "topic", where)
    if topic is None and columns.layout == "mmlu":
        topic = _optional(data, "subject", where)
    return Question(
        id=name,
        question=_text(_required(data, "question", where), "question", where),
        choices=choices,
        answer=_key(data, columns, len(choices), where),
        topic=topic,
        explanation=_optional(data, "explanation", where),
        article=article,
        year=_year(data.get("year"), where) or year_of(article or "") or year_of(name),
    )


def _identity(value: Any, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise DataError(f"{where}: `id` must be text or a number, found {kind(value)}", FORM)
    return str(value)


def _required(data: dict[str, Any], name: str, where: str) -> Any:
    if name not in data:
        near = nearest(name, data)
        found = ", ".join(map(str, data)) or "none"
        hint = f"is `{near}` meant? {FORM}" if near else FORM
        raise DataError(f"{where}: field `{name}` is missing (fields found: {found})", hint)
    return data[name]


def _listed(data: dict[str, Any], where: str) -> tuple[str, ...]:
    value = _required(data, "choices", where)
    if not isinstance(value, list) or not MIN_CHOICES <= len(value) <= MAX_CHOICES:
        found = f"{len(value)} options" if isinstance(value, list) else kind(value)
        raise DataError(
            f"{where}: `choices` must be a list of {MIN_CHOICES} to {MAX_CHOICES} options, "
            f"found {found}",
            FORM,
        )
    return _different(tuple(_text(v, f"choices[{i}]", where) for i, v in enumerate(value)), where)


def _lettered(data: dict[str, Any], columns: Columns, where: str) -> tuple[str, ...]:
    names = columns.options
    promised = f"the file's first question has options {names[0]} to {names[-1]}"
    more = LETTERS[len(names) :]
    surplus = next((x for x in more if str(data.get(x) or "").strip()), None)
    if surplus is not None:
        raise DataError(
            f"{where}: column `{surplus}` holds a further option, {promised}",
            "put questions with another number of options into a file of their own",
        )
    for name in names:
        value = data.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            raise DataError(
                f"{where}: option `{name}` is empty, {promised}",
                "fill it, or put questions with fewer options into a file of their own",
            )
    texts = (data[n] if isinstance(data[n], str) else str(data[n]) for n in names)
    return _different(tuple(text.strip() for text in texts), where)


def _different(choices: tuple[str, ...], where: str) -> tuple[str, ...]:
    if len(set(map(folded, choices))) == 1:
        raise DataError(
            f"{where}: all options are equal (`{choices[0]}`)", "a question needs a wrong option"
        )
    return choices


def _key(data: dict[str, Any], columns: Columns, options: int, where: str) -> int | None:
    if columns.key is None:
        return None
    value = data.get(columns.key) if columns.options else _required(data, columns.key, where)
    if columns.options and (value is None or value == ""):
        return None
    return _answer(value, options, columns.key, where)


def _answer(value: Any, options: int, name: str, where: str) -> int:
    last = LETTERS[options - 1]
    allowed = f"allowed: a letter from A to {last}, or an index from 0 to {options - 1}"
    if isinstance(value, list | tuple) or (isinstance(value, str) and _SEVERAL.fullmatch(value)):
        found = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value.strip()
        raise DataError(
            f"{where}: `{name}` names several options ({found}); one of them must be the right one",
            f"leave out questions with several right answers; {allowed}",
        )
    if isinstance(value, str) and len(value.strip()) == 1:
        index = LETTERS.find(value.strip().upper())
    elif isinstance(value, int) and not isinstance(value, bool):
        index = value
    else:
        raise DataError(f"{where}: `{name}` is {kind(value)}", allowed)
    if not 0 <= index < options:
        raise DataError(
            f"{where}: `{name}` is {value!r}, which is none of the {options} options", allowed
        )
    return index


def _year(value: Any, where: str) -> int | None:
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1000 <= value <= 2999:
        raise DataError(
            f"{where}: `year` must be a year of four digits, found {kind(value)}",
            "write it as a number, or leave the field out",
        )
    return value


def _text(value: Any, name: str, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: `{name}` must be text, found {kind(value)}", FORM)
    return value.strip()


def _optional(data: dict[str, Any], name: str, where: str) -> str | None:
    value = data.get(name)
    if value is None or value == "":
        return None
    return _text(value, name, where)
