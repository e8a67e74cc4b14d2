"""Multiple-choice questions with keys: read from JSONL and checked line by line.

Light enough for the command line, which reads them before a job is submitted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astrosage.data.reading import empty, read_lines
from astrosage.data.sources import expand
from astrosage.errors import DataError
from astrosage.spec.base import nearest

LETTERS = "ABCDEFGHIJ"
MIN_CHOICES, MAX_CHOICES = 2, len(LETTERS)
_FORM = (
    'a question is {"id": "q1", "question": "…", "choices": ["…", "…", "…", "…"], "answer": "A"}'
)


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its options and key.

    Attributes:
        id: Its name, unique in its file.
        question: The stem.
        choices: Two to ten options, at least two of them different.
        answer: Index of the right option, from 0.
        topic: What it is about, for the per-topic table.
        explanation: Why the right option is right.
        article: The text that it tests, where known.
    """

    id: str
    question: str
    choices: tuple[str, ...]
    answer: int
    topic: str | None = None
    explanation: str | None = None
    article: str | None = None

    @property
    def has_equal_choices(self) -> bool:
        """Whether two options say the same; published question sets do contain such slips."""
        return len(set(map(_folded, self.choices))) < len(self.choices)

    def is_right(self, chosen: int | None) -> bool:
        """Whether an option is the right one, or says the same as it."""
        if chosen is None:
            return False
        return _folded(self.choices[chosen]) == _folded(self.choices[self.answer])


def load(path: str | Path, field: str = "questions") -> list[Question]:
    """Read a question file.

    Args:
        path: JSONL, plain or ``.gz``, local or a URI.
        field: Where the run file names it, for messages.

    Raises:
        NotFoundError: If there is no such file.
        DataError: Naming the file and, where it applies, line and field of the first fault.
    """
    questions: list[Question] = []
    seen: dict[str, str] = {}
    for file in expand(str(path), field):
        for where, data in _objects(file, field):
            question = _question(data, where)
            if question.id in seen:
                raise DataError(
                    f"{where}: id `{question.id}` is already used at {seen[question.id]}",
                    "give each question an id of its own",
                )
            seen[question.id] = where
            questions.append(question)
    return questions


def _objects(file: Path | str, field: str) -> Iterator[tuple[str, dict[str, Any]]]:
    found, size = 0, 0
    for number, line in read_lines(file):
        size += len(line.encode())
        if not line.strip():
            continue
        found += 1
        where = f"{field}: {file}, line {number}"
        try:
            data = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{where}: broken JSON: {error.msg} at column {error.colno}",
                "each line must be one whole JSON object",
            ) from None
        if not isinstance(data, dict):
            raise DataError(f"{where}: expected an object, found {_kind(data)}", _FORM)
        yield where, data
    if not found:
        raise empty(file, size)


def _question(data: dict[str, Any], where: str) -> Question:
    choices = _choices(data, where)
    identity = _required(data, "id", where)
    if isinstance(identity, bool) or not isinstance(identity, str | int) or identity == "":
        raise DataError(f"{where}: `id` must be text or a number, found {_kind(identity)}", _FORM)
    return Question(
        id=str(identity),
        question=_text(_required(data, "question", where), "question", where),
        choices=choices,
        answer=_answer(_required(data, "answer", where), len(choices), where),
        topic=_optional(data, "topic", where),
        explanation=_optional(data, "explanation", where),
        article=_optional(data, "article", where),
    )


def _required(data: dict[str, Any], name: str, where: str) -> Any:
    if name not in data:
        near = nearest(name, data)
        found = ", ".join(map(str, data)) or "none"
        hint = f"is `{near}` meant? {_FORM}" if near else _FORM
        raise DataError(f"{where}: field `{name}` is missing (fields found: {found})", hint)
    return data[name]


def _choices(data: dict[str, Any], where: str) -> tuple[str, ...]:
    value = _required(data, "choices", where)
    if not isinstance(value, list) or not MIN_CHOICES <= len(value) <= MAX_CHOICES:
        found = f"{len(value)} options" if isinstance(value, list) else _kind(value)
        raise DataError(
            f"{where}: `choices` must be a list of {MIN_CHOICES} to {MAX_CHOICES} options, "
            f"found {found}",
            _FORM,
        )
    choices = tuple(_text(v, f"choices[{i}]", where) for i, v in enumerate(value))
    if len(set(map(_folded, choices))) == 1:
        raise DataError(
            f"{where}: all options are equal (`{choices[0]}`)", "a question needs a wrong option"
        )
    return choices


def _answer(value: Any, options: int, where: str) -> int:
    last = LETTERS[options - 1]
    allowed = f"allowed: a letter from A to {last}, or an index from 0 to {options - 1}"
    if isinstance(value, str) and len(value.strip()) == 1:
        index = LETTERS.find(value.strip().upper())
    elif isinstance(value, int) and not isinstance(value, bool):
        index = value
    else:
        raise DataError(f"{where}: `answer` is {_kind(value)}", allowed)
    if not 0 <= index < options:
        raise DataError(
            f"{where}: `answer` is {value!r}, which is none of the {options} options", allowed
        )
    return index


def _folded(choice: str) -> str:
    return " ".join(choice.split()).casefold()


def _text(value: Any, name: str, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: `{name}` must be text, found {_kind(value)}", _FORM)
    return value.strip()


def _optional(data: dict[str, Any], name: str, where: str) -> str | None:
    value = data.get(name)
    if value is None or value == "":
        return None
    return _text(value, name, where)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", bool: "true or false", type(None): "null"}
    if isinstance(value, str):
        return f"the text `{value[:40]}`" if value.strip() else "empty text"
    return names.get(type(value), f"the number {value}")
