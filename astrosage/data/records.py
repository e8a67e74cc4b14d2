"""What a source holds: records of text or chat, checked field by field."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from astrosage.errors import DataError
from astrosage.spec.base import nearest

Format: TypeAlias = Literal["text", "chat"]
Message: TypeAlias = dict[str, str]

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Record:
    """One document or one conversation.

    Attributes:
        id: The record's own ``id``, else made from the file's name and line.
        source: The file it stands in.
        line: The line it stands on; 1 for a file that is one document.
        text: The document (format ``text``).
        messages: The conversation, each message with ``role`` and ``content`` (format ``chat``).
        license: Its own licence, where the source states one for each record.
    """

    id: str
    source: str
    line: int
    text: str = ""
    messages: tuple[Message, ...] = ()
    license: str | None = None

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.source}, line {self.line}"

    @property
    def texts(self) -> tuple[str, ...]:
        """The document, or the content of each message."""
        return tuple(m["content"] for m in self.messages) if self.messages else (self.text,)


def parse_line(line: str, source: str, number: int, format: Format, text_field: str) -> Record:  # noqa: A002
    """A JSONL line as a record.

    Raises:
        DataError: Naming file, line and field, and what was found there.
    """
    where = f"{source}, line {number}"
    try:
        data = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}: broken JSON: {error.msg} at column {error.colno}",
            "each line of a .jsonl file must be one whole JSON object",
        ) from None
    if not isinstance(data, dict):
        raise DataError(
            f"{where}: {_kind(data)} was found, an object is needed",
            f'write {{"{"messages" if format == "chat" else text_field}": …}} on each line',
        )
    return make_record(data, source, number, format, text_field)


def make_record(
    data: dict[str, Any],
    source: str,
    number: int,
    format: Format,  # noqa: A002
    text_field: str,
) -> Record:
    """Plain data as a record.

    Args:
        data: The record's fields.
        source: Its file.
        number: Its line or row, from 1.
        format: ``text`` or ``chat``.
        text_field: Which field holds the text.

    Raises:
        DataError: Naming file, line and field, and what was found there.
    """
    where = f"{source}, line {number}"
    own, license_ = data.get("id"), data.get("license")
    name = str(own) if isinstance(own, str | int) else f"{source.rsplit('/', 1)[-1]}:{number}"
    license_ = license_ if isinstance(license_, str) and license_.strip() else None
    if format == "chat":
        return Record(name, source, number, messages=_messages(data, where), license=license_)
    return Record(name, source, number, text=_text(data, text_field, where), license=license_)


def _text(data: dict[str, Any], field: str, where: str) -> str:
    if field not in data:
        hint = "set the source's `textField` to the field that holds the text"
        raise _missing(data, field, where, hint)
    if not isinstance(data[field], str):
        raise DataError(
            f"{where}: field `{field}` is {_kind(data[field])}, text is needed",
            "set the source's `textField` to the field that holds the text",
        )
    return str(data[field])


def _messages(data: dict[str, Any], where: str) -> tuple[Message, ...]:
    if "messages" not in data:
        hint = "`format: chat` reads records with `messages`; plain texts are `format: text`"
        raise _missing(data, "messages", where, hint)
    items = data["messages"]
    if not isinstance(items, list) or not items:
        found = "an empty list" if items == [] else _kind(items)
        raise DataError(
            f"{where}: `messages` is {found}, a list of messages is needed",
            'write [{"role": "user", "content": …}, {"role": "assistant", "content": …}]',
        )
    messages = tuple(_message(item, f"{where}, messages[{i}]") for i, item in enumerate(items))
    _check_order([m["role"] for m in messages], where)
    return messages


def _message(item: Any, where: str) -> Message:
    if not isinstance(item, dict):
        raise DataError(
            f"{where}: {_kind(item)} was found, an object is needed",
            "a message has `role` and `content`",
        )
    for field in ("role", "content"):
        if field not in item:
            raise _missing(item, field, where, "a message has `role` and `content`")
        if not isinstance(item[field], str):
            raise DataError(
                f"{where}: `{field}` is {_kind(item[field])}, text is needed",
                "only messages of plain text can be learnt",
            )
    role, content = item["role"], item["content"]
    if role not in ROLES:
        near = nearest(role, ROLES)
        raise DataError(
            f"{where}: unknown role `{role}`",
            (f"did you mean `{near}`? " if near else "") + f"allowed: {', '.join(ROLES)}",
        )
    if role == "assistant" and not content.strip():
        raise DataError(
            f"{where}: the assistant's content is empty", "write an answer or remove the record"
        )
    return {"role": role, "content": content}


def _check_order(roles: Sequence[str], where: str) -> None:
    if "assistant" not in roles:
        raise DataError(
            f"{where}: no assistant turn, so there is nothing to learn (roles: {', '.join(roles)})",
            'add {"role": "assistant", "content": …} or remove the record',
        )
    turns = roles[1:] if roles[0] == "system" else roles
    for i, role in enumerate(turns):
        if role != ("user", "assistant")[i % 2]:
            raise DataError(
                f"{where}: roles out of order at messages[{i + len(roles) - len(turns)}]: "
                f"{', '.join(roles)}",
                "an optional system message, then user and assistant in turn",
            )


def _missing(data: dict[str, Any], field: str, where: str, hint: str) -> DataError:
    near = nearest(field, data)
    found = ", ".join(f"`{name}`" for name in list(data)[:12]) or "none"
    return DataError(
        f"{where}: no field `{field}` (fields found: {found})",
        (f"did you mean `{near}`? " if near else "") + hint,
    )


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    if value is None:
        return "null"
    return names.get(type(value), "a number")
