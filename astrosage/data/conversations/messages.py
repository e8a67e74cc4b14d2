"""Messages, checked one by one and in their order, whatever the fields of a layout are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from astrosage.errors import DataError
from astrosage.spec.base import nearest
from astrosage.spec.chat import THINK_CLOSE, THINK_OPEN

Message: TypeAlias = dict[str, str]
"""``role`` and ``content``; an answer that is shown but not learnt has ``weight``, too."""

ROLES = ("system", "user", "assistant")
_NONE = "0"


@dataclass(frozen=True)
class Fields:
    """How a layout calls what a message has.

    Attributes:
        role: The field that says who speaks.
        content: The field with the text.
        roles: Its names of speakers; the names of :data:`ROLES` are known beside them.
    """

    role: str
    content: str
    roles: Mapping[str, str] = field(default_factory=dict)

    @property
    def hint(self) -> str:
        """What a message needs, for errors."""
        return f"a message has `{self.role}` and `{self.content}`"

    @property
    def example(self) -> str:
        """A conversation of two messages, for errors."""
        names = {role: name for name, role in reversed(list(self.roles.items()))}
        user, assistant = (names.get(role, role) for role in ("user", "assistant"))
        return (
            f'[{{"{self.role}": "{user}", "{self.content}": …}}, '
            f'{{"{self.role}": "{assistant}", "{self.content}": …}}]'
        )


ROLE_CONTENT = Fields("role", "content", {"developer": "system"})
FROM_VALUE = Fields(
    "from",
    "value",
    {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant"},
)


def read_messages(items: Any, fields: Fields, name: str, where: str) -> list[Message]:
    """A list of messages, each with ``role`` and ``content``.

    Args:
        items: What stands in the record.
        fields: How the layout calls the parts of a message.
        name: The record's field, for errors.
        where: File and line, for errors.

    Raises:
        DataError: Naming the field, and what was found there.
    """
    if not isinstance(items, list) or not items:
        found = "an empty list" if items == [] else kind(items)
        raise DataError(
            f"{where}: `{name}` is {found}, a list of messages is needed",
            f"write {fields.example}",
        )
    return [_message(item, fields, f"{where}, {name}[{i}]") for i, item in enumerate(items)]


def _message(item: Any, fields: Fields, where: str) -> Message:
    if not isinstance(item, dict):
        raise DataError(f"{where}: {kind(item)} was found, an object is needed", fields.hint)
    for name in (fields.role, fields.content):
        if name not in item:
            raise missing(item, name, where, fields.hint)
    role, content = item[fields.role], _text(item[fields.content])
    for name, value in ((fields.role, role), (fields.content, content)):
        if not isinstance(value, str):
            raise DataError(
                f"{where}: `{name}` is {kind(item[name])}, text is needed",
                "only messages of plain text can be learnt",
            )
    if item.get("tool_calls"):
        raise DataError(
            f"{where}: `tool_calls` cannot be learnt", "only messages of plain text can be learnt"
        )
    thought = item.get("reasoning_content")
    if isinstance(thought, str) and thought.strip():
        content = f"{THINK_OPEN}\n{thought.strip()}\n{THINK_CLOSE}\n\n{content}"
    message = {"role": _role(role, fields, where), "content": content}
    if message["role"] == "assistant" and not _is_weighted(item, where):
        message["weight"] = _NONE
    return message


def _is_weighted(item: Mapping[str, Any], where: str) -> bool:
    """Whether an answer counts, as OpenAI's fine-tuning files and OpenHermes-2.5 say it."""
    weight = item.get("weight")
    if weight not in (None, 0, 1):
        raise DataError(
            f"{where}: `weight` is {weight!r}, 0 or 1 is needed",
            "an answer with `weight: 0` is shown but not learnt; leave it out to learn it",
        )
    return weight != 0


def is_learnt(message: Mapping[str, str]) -> bool:
    """Whether a message is an answer that the model shall learn to give."""
    return message["role"] == "assistant" and message.get("weight") != _NONE


def _text(content: Any) -> Any:
    """The text of content that comes in parts; anything else as it is."""
    if not isinstance(content, list) or not content:
        return content
    texts = [part.get("text") if isinstance(part, dict) else None for part in content]
    if not all(isinstance(text, str) for text in texts):
        return content
    return "".join(map(str, texts))


def _role(role: str, fields: Fields, where: str) -> str:
    if role in ROLES:
        return role
    if role in fields.roles:
        return fields.roles[role]
    allowed = [*ROLES, *(name for name in fields.roles if name not in ROLES)]
    near = nearest(role, allowed)
    raise DataError(
        f"{where}: unknown role `{role}`",
        (f"did you mean `{near}`? " if near else "") + f"allowed: {', '.join(allowed)}",
    )


def check_order(messages: Sequence[Message], where: str, name: str = "messages") -> None:
    """An optional system message, then user and assistant in turn, with something to learn.

    Raises:
        DataError: Naming the first message that is out of order or empty.
    """
    roles = [m["role"] for m in messages]
    for i, message in enumerate(messages):
        if message["role"] == "assistant" and not message["content"].strip():
            raise DataError(
                f"{where}, {name}[{i}]: the assistant's content is empty",
                "write an answer or remove the record",
            )
    if "assistant" not in roles:
        raise DataError(
            f"{where}: no assistant turn, so there is nothing to learn (roles: {', '.join(roles)})",
            'add {"role": "assistant", "content": …} or remove the record',
        )
    if not any(map(is_learnt, messages)):
        raise DataError(
            f"{where}: all answers have `weight: 0`, so there is nothing to learn",
            "let one have `weight: 1`, or remove the record",
        )
    turns = roles[1:] if roles[0] == "system" else roles
    for i, role in enumerate(turns):
        if role != ("user", "assistant")[i % 2]:
            raise DataError(
                f"{where}: roles out of order at {name}[{i + len(roles) - len(turns)}]: "
                f"{', '.join(roles)}",
                "an optional system message, then user and assistant in turn",
            )


def missing(data: Mapping[str, Any], name: str, where: str, hint: str) -> DataError:
    """The error for a field that is not there, with the nearest one that is."""
    near = nearest(name, data)
    found = ", ".join(f"`{key}`" for key in list(data)[:12]) or "none"
    return DataError(
        f"{where}: no field `{name}` (fields found: {found})",
        (f"did you mean `{near}`? " if near else "") + hint,
    )


def kind(value: Any) -> str:
    """What a value of JSON is, in words."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    if value is None:
        return "null"
    return names.get(type(value), "a number")
