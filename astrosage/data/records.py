"""What a source holds: records of text or chat, checked field by field."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from astrosage.data.conversations.choice import LayoutChoice
from astrosage.data.conversations.layouts import conversation
from astrosage.data.conversations.messages import ROLES, Message, kind, missing
from astrosage.data.pickled import Pickled
from astrosage.errors import DataError
from astrosage.spec.chat import State

__all__ = ["ROLES", "Format", "Message", "Record", "make_record", "parse_line"]

Format: TypeAlias = Literal["text", "chat"]


@dataclass(frozen=True, slots=True)
class Record(Pickled):
    """One document or one conversation.

    Attributes:
        id: The record's own ``id``, else made from the file's name and line.
        source: The file it stands in.
        line: The line it stands on; 1 for a file that is one document.
        text: The document (format ``text``).
        messages: The conversation, each message with ``role`` and ``content`` (format ``chat``).
        license: Its own licence, where the source states one for each record.
        reasoning: Whether it says that it has reasoning (``on``), or that it has none (``off``).
    """

    id: str
    source: str
    line: int
    text: str = ""
    messages: tuple[Message, ...] = ()
    license: str | None = None
    reasoning: State | None = None

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.source}, line {self.line}"

    @property
    def texts(self) -> tuple[str, ...]:
        """The document, or the content of each message."""
        return tuple(m["content"] for m in self.messages) if self.messages else (self.text,)


def parse_line(
    line: str,
    source: str,
    number: int,
    format: Format,  # noqa: A002
    text_field: str,
    layout: LayoutChoice | None = None,
) -> Record:
    """A JSONL line as a record.

    Raises:
        DataError: Naming file, line and field, and what was found there.
    """
    where = f"{source}, line {number}"
    try:
        data = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}: broken JSON: {error.msg} at column {error.pos + 1}",
            "each line of a .jsonl file must be one whole JSON object",
        ) from None
    if not isinstance(data, dict):
        raise DataError(
            f"{where}: {kind(data)} was found, an object is needed",
            f'write {{"{"messages" if format == "chat" else text_field}": …}} on each line',
        )
    return make_record(data, source, number, format, text_field, layout)


def make_record(
    data: dict[str, Any],
    source: str,
    number: int,
    format: Format,  # noqa: A002
    text_field: str,
    layout: LayoutChoice | None = None,
) -> Record:
    """Plain data as a record.

    Args:
        data: The record's fields.
        source: Its file.
        number: Its line or row, from 1.
        format: ``text`` or ``chat``.
        text_field: Which field holds the text.
        layout: How the source holds conversations; None: as this record does.

    Raises:
        DataError: Naming file, line and field, and what was found there.
    """
    where = f"{source}, line {number}"
    own, license_ = data.get("id"), data.get("license")
    name = str(own) if isinstance(own, str | int) else f"{source.rsplit('/', 1)[-1]}:{number}"
    license_ = license_ if isinstance(license_, str) and license_.strip() else None
    if format == "chat":
        choice = layout or LayoutChoice()
        shape = choice.of(data, where)
        messages = conversation(data, shape, where)
        choice.read(shape)
        flag = _flag(data.get("reasoning"))
        return Record(name, source, number, messages=messages, license=license_, reasoning=flag)
    return Record(name, source, number, text=_text(data, text_field, where), license=license_)


def _text(data: dict[str, Any], field: str, where: str) -> str:
    if field not in data:
        hint = "set the source's `textField` to the field that holds the text"
        raise missing(data, field, where, hint)
    if not isinstance(data[field], str):
        raise DataError(
            f"{where}: field `{field}` is {kind(data[field])}, text is needed",
            "set the source's `textField` to the field that holds the text",
        )
    return str(data[field])


def _flag(value: Any) -> State | None:
    """``on`` or ``off``; other values of a field of that name mean something else."""
    known: dict[Any, State] = {"on": "on", "off": "off", True: "on", False: "off"}
    return known.get(value) if isinstance(value, str | bool) else None
