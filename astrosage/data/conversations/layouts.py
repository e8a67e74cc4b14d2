"""The layouts in which data sets hold conversations, and how a record's own is recognised.

Messages are those of OpenAI's API. ShareGPT has ``from`` and ``value``; OpenHermes-2.5 is ShareGPT
with a system prompt and origins beside it. Alpaca (Taori et al. 2023) has an instruction and what
it is about. Llama-Nemotron-Post-Training-Dataset (NVIDIA 2025) has what the model reads in
``input``, a list of messages or, in its first version, Llama 3's own text, and what it writes in
``output``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from astrosage.data.conversations.messages import (
    FROM_VALUE,
    ROLE_CONTENT,
    Message,
    check_order,
    kind,
    missing,
    read_messages,
)
from astrosage.data.conversations.traces import checked
from astrosage.errors import DataError
from astrosage.spec.base import nearest
from astrosage.spec.chat import with_system_prompt

_LISTS = ("messages", "conversations", "conversation")
_SYSTEM = ("system_prompt", "system")
# Columns that OpenHermes-2.5 has beside those of ShareGPT.
_HERMES = ("system_prompt", "skip_prompt_formatting", "custom_instruction")
_LLAMA_TURN = re.compile(
    r"<\|start_header_id\|>(\w+)<\|end_header_id\|>\n*(.*?)(?=<\|start_header_id\|>|\Z)", re.DOTALL
)
_LLAMA_MARKS = re.compile(r"<\|(?:begin_of_text|eot_id|end_of_text)\|>")

FIELDS = (*_LISTS, *_SYSTEM, *_HERMES[1:], "instruction", "input", "output", "history", "reasoning")
"""All fields that a layout reads or is known by."""


@dataclass(frozen=True)
class Layout:
    """One way of holding a conversation.

    Attributes:
        name: As ``layout`` in a run file.
        shape: What a record looks like, for errors.
        fields: Those that it cannot be without, each by all its names.
        fits: Whether a record can be read so.
        read: The messages of a record, given its file and line for errors.
    """

    name: str
    shape: str
    fields: tuple[tuple[str, ...], ...]
    fits: Callable[[Mapping[str, Any]], bool]
    read: Callable[[Mapping[str, Any], str], list[Message]]


def conversation(data: Mapping[str, Any], layout: Layout, where: str) -> tuple[Message, ...]:
    """A record's messages: its system prompt first, checked, with whole traces.

    Raises:
        DataError: Naming file, line and field, and what was found there.
    """
    messages = layout.read(data, where)
    for name in _SYSTEM:
        prompt = data.get(name)
        if prompt is None:
            continue
        if not isinstance(prompt, str):
            raise DataError(
                f"{where}: `{name}` is {kind(prompt)}, text is needed", "write text or leave it out"
            )
        own = messages[0]["content"] if messages[0]["role"] == "system" else ""
        if prompt.strip() and not own.startswith(prompt):
            messages = with_system_prompt(messages, prompt)
    named = _list_name(data) or "turns"
    check_order(messages, where, named)
    return tuple(
        {**m, "content": checked(m["content"], f"{where}, {named}[{i}]")}
        if m["role"] == "assistant"
        else m
        for i, m in enumerate(messages)
    )


def recognised(data: Mapping[str, Any], where: str) -> Layout:
    """The layout of a record.

    Raises:
        DataError: If it has none, with the nearest.
    """
    for layout in LAYOUTS.values():
        if layout.fits(data) and (layout.name != "openhermes" or any(f in data for f in _HERMES)):
            return layout
    raise unknown(data, where)


def unknown(data: Mapping[str, Any], where: str) -> DataError:
    """The error for a record of no layout: which is nearest, and what it lacks for that."""
    near = max(LAYOUTS.values(), key=lambda layout: _likeness(data, layout))
    lacks = next((f[0] for f in near.fields if not any(n in data for n in f)), near.fields[0][0])
    hint = f"the nearest layout is `{near.name}`: {near.shape}; plain texts are `format: text`"
    return missing(data, lacks, where, hint)


def _likeness(data: Mapping[str, Any], layout: Layout) -> float:
    """How many of a layout's fields a record has, of those that are spelled nearly so half."""

    def one(names: tuple[str, ...]) -> float:
        if any(name in data for name in names):
            return 1.0
        return 0.5 if any(nearest(name, data) for name in names) else 0.0

    return sum(map(one, layout.fields)) / len(layout.fields)


def _list_name(data: Mapping[str, Any]) -> str | None:
    return next((name for name in _LISTS if data.get(name) is not None), None)


def _items(data: Mapping[str, Any]) -> tuple[str, Any]:
    name = _list_name(data) or next(n for n in _LISTS if n in data)
    return name, data[name]


def _says_from(data: Mapping[str, Any]) -> bool:
    """Whether the first message has the fields of ShareGPT."""
    items = data.get(_list_name(data) or "")
    first = items[0] if isinstance(items, list) and items else None
    return isinstance(first, dict) and any(first.get(f) is not None for f in ("from", "value"))


def _is_messages(data: Mapping[str, Any]) -> bool:
    return any(name in data for name in _LISTS) and not _says_from(data)


def _read_messages(data: Mapping[str, Any], where: str) -> list[Message]:
    name, items = _items(data)
    return read_messages(items, ROLE_CONTENT, name, where)


def _read_sharegpt(data: Mapping[str, Any], where: str) -> list[Message]:
    name, items = _items(data)
    return read_messages(items, FROM_VALUE, name, where)


def _read_alpaca(data: Mapping[str, Any], where: str) -> list[Message]:
    texts = {name: _text(data, name, where) for name in ("instruction", "input", "output")}
    messages: list[Message] = []
    for i, pair in enumerate(data.get("history") or []):
        if not isinstance(pair, list | tuple) or [type(x) for x in pair] != [str, str]:
            raise DataError(
                f"{where}: `history[{i}]` is {kind(pair)}, a pair of texts is needed",
                "write [[question, answer], …]",
            )
        messages += _exchange(pair[0], pair[1])
    asked = "\n\n".join(t for t in (texts["instruction"], texts["input"]) if t.strip())
    return messages + _exchange(asked, texts["output"])


def _read_nemotron(data: Mapping[str, Any], where: str) -> list[Message]:
    asked = data["input"]
    answer = _LLAMA_MARKS.sub("", _text(data, "output", where))
    if isinstance(asked, str):
        messages = _llama_turns(asked) or [{"role": "user", "content": asked}]
    else:
        messages = read_messages(asked, ROLE_CONTENT, "input", where)
    return [*messages, {"role": "assistant", "content": answer}]


def _llama_turns(text: str) -> list[Message]:
    """The turns of a text that Llama 3's template has made; the last, still empty one left out."""
    turns = [
        {"role": role, "content": _LLAMA_MARKS.sub("", body).strip()}
        for role, body in _LLAMA_TURN.findall(text)
    ]
    return turns[:-1] if turns and turns[-1] == {"role": "assistant", "content": ""} else turns


def _exchange(question: str, answer: str) -> list[Message]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _text(data: Mapping[str, Any], name: str, where: str) -> str:
    value = data.get(name)
    if value is None and name == "input":
        return ""
    if not isinstance(value, str):
        raise DataError(f"{where}: `{name}` is {kind(value)}, text is needed", "write it as text")
    return value


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout(
            "messages",
            '{"messages": [{"role": …, "content": …}, …]}',
            (("messages",),),
            _is_messages,
            _read_messages,
        ),
        Layout(
            "openhermes",
            '{"conversations": [{"from": "human", "value": …}, …], "system_prompt": …}',
            (_LISTS[1:], ("system_prompt",)),
            _says_from,
            _read_sharegpt,
        ),
        Layout(
            "sharegpt",
            '{"conversations": [{"from": "human", "value": …}, {"from": "gpt", "value": …}]}',
            (_LISTS[1:],),
            _says_from,
            _read_sharegpt,
        ),
        Layout(
            "alpaca",
            '{"instruction": …, "input": …, "output": …}',
            (("instruction",), ("output",)),
            lambda data: "instruction" in data and "output" in data,
            _read_alpaca,
        ),
        Layout(
            "nemotron",
            '{"input": [{"role": "user", "content": …}], "output": …, "reasoning": "on"}',
            (("input",), ("output",)),
            lambda data: data.get("input") is not None and "output" in data,
            _read_nemotron,
        ),
    )
}
"""All layouts by name, in the order in which a record is tried."""
