from __future__ import annotations

import json
from typing import Any

import pytest

from astrosage.data.records import Record, parse_line
from astrosage.errors import DataError

USER, ASSISTANT = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}
SYSTEM = {"role": "system", "content": "Be brief."}


def text(line: str, field: str = "text") -> Record:
    return parse_line(line, "d/a.jsonl", 7, "text", field)


def chat(messages: Any, **more: Any) -> Record:
    line = json.dumps({"messages": messages, **more})
    return parse_line(line, "d/a.jsonl", 7, "chat", "text")


def test_text_record() -> None:
    record = text('{"body": "A star.", "id": 12}', "body")
    assert (record.id, record.text, record.where) == ("12", "A star.", "d/a.jsonl, line 7")
    assert text('{"text": "A star."}').id == "a.jsonl:7"


@pytest.mark.parametrize(
    ("stated", "kept"), [('"CC0"', "CC0"), ('" "', None), ("null", None), ('["CC0"]', None)]
)
def test_a_record_may_carry_its_licence(stated: str, kept: str | None) -> None:
    assert text(f'{{"text": "A star.", "license": {stated}}}').license == kept


def test_chat_record_keeps_role_and_content_only() -> None:
    record = chat([SYSTEM, {**USER, "name": "Ann"}, ASSISTANT, USER])
    assert record.messages == (SYSTEM, USER, ASSISTANT, USER)
    assert record.texts == ("Be brief.", "Why?", "So.", "Why?")


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ('{"text": "a', r"a\.jsonl, line 7: broken JSON: Unterminated string.* column 10", "whole"),
        ("[1]", "line 7: a list was found, an object is needed", '"text"'),
        ("null", "null was found", ""),
        ("3", "a number was found", ""),
        ('{"txt": "a", "id": 1}', r"no field `text` \(fields found: `txt`, `id`\)", "mean `txt`"),
        ("{}", r"no field `text` \(fields found: none\)", "textField"),
        ('{"text": ["a"]}', "field `text` is a list, text is needed", "textField"),
        ('{"text": null}', "field `text` is null", ""),
    ],
)
def test_unusable_text_lines(line: str, message: str, hint: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        text(line)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "`messages` is an empty list"),
        ("hello", "`messages` is text, a list"),
        ([USER, "hello"], r"line 7, messages\[1\]: text was found, an object"),
        ([{"content": "a"}], r"messages\[0\]: no field `role` \(fields found: `content`\)"),
        ([{"role": "user"}], r"messages\[0\]: no field `content`"),
        ([{"role": "user", "content": [{"type": "text"}]}], "`content` is a list, text"),
        ([{"role": "bot", "content": "a"}], "unknown role `bot`"),
        ([USER], r"no assistant turn.*\(roles: user\)"),
        ([SYSTEM], "no assistant turn"),
        (
            [USER, {"role": "assistant", "content": " \n"}],
            r"\[1\]: the assistant's .*empty",
        ),
        ([ASSISTANT, USER], r"out of order at messages\[0\]: assistant, user"),
        ([USER, USER, ASSISTANT], r"out of order at messages\[1\]"),
        ([USER, SYSTEM, ASSISTANT], r"out of order at messages\[1\]"),
        ([SYSTEM, USER, ASSISTANT, ASSISTANT], r"out of order at messages\[3\]"),
    ],
)
def test_unusable_chats(messages: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        chat(messages)


def test_near_names_are_offered() -> None:
    with pytest.raises(DataError) as caught:
        parse_line('{"message": []}', "a.jsonl", 1, "chat", "text")
    assert "did you mean `message`?" in caught.value.hint
    with pytest.raises(DataError) as caught:
        chat([{"role": "Assistant", "content": "a"}])
    assert "did you mean `assistant`?" in caught.value.hint
