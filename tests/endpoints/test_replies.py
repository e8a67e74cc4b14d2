from __future__ import annotations

from typing import Any

import pytest

from astrosage.endpoints.replies import GarbledError, Reply, chat_reply, estimate, option_reply

PROMPT = "x" * 400


def chat(
    content: Any = "B", usage: Any = None, finish: str = "stop", **message: Any
) -> dict[str, Any]:
    return {
        "model": "m-1",
        "system_fingerprint": "fp",
        "choices": [{"message": {"content": content, **message}, "finish_reason": finish}],
        "usage": usage,
    }


def test_a_good_reply() -> None:
    usage = {"prompt_tokens": 90, "completion_tokens": 3}
    assert chat_reply(chat(" B ", usage), PROMPT, 8) == Reply(
        text="B", prompt=90, completion=3, model="m-1", fingerprint="fp"
    )


@pytest.mark.parametrize(
    "usage",
    [
        None,
        "none",
        {},
        {"prompt_tokens": -5, "completion_tokens": 3},
        {"prompt_tokens": 90, "completion_tokens": -1},
        {"prompt_tokens": "90", "completion_tokens": 3},
        {"prompt_tokens": True, "completion_tokens": 3},
        {"prompt_tokens": 0, "completion_tokens": 3},
        {"prompt_tokens": 10**9, "completion_tokens": 3},
        {"prompt_tokens": 90, "completion_tokens": 10**9},
        {"prompt_tokens": float("nan"), "completion_tokens": 3},
    ],
)
def test_usage_that_cannot_be_is_estimated_and_said(usage: Any) -> None:
    reply = chat_reply(chat("Because", usage), PROMPT, 8)
    assert reply.estimated
    assert reply.usage.estimated == 1
    assert reply.prompt in (90, estimate(PROMPT))
    assert reply.completion in (3, estimate("Because"))
    assert estimate(PROMPT) == 100
    assert estimate("Because") == 2


def test_thoughts_are_counted_and_not_judged() -> None:
    usage: dict[str, Any] = {"prompt_tokens": 90, "completion_tokens": 50}
    apart = chat_reply(chat("B", usage, reasoning_content="so " * 33), PROMPT, 99)
    assert (apart.text, apart.reasoning, apart.thinking) == ("B", round(50 * 99 / 100), False)
    inline = chat_reply(chat("<think>so so</think>B", usage), PROMPT, 99)
    assert inline.text == "<think>so so</think>B"
    assert 0 < inline.reasoning < 50
    usage["completion_tokens_details"] = {"reasoning_tokens": 41}
    assert chat_reply(chat("B", usage), PROMPT, 99).reasoning == 41
    usage["completion_tokens_details"] = {"reasoning_tokens": 999}
    assert chat_reply(chat("B", usage), PROMPT, 99).reasoning == 0


@pytest.mark.parametrize(
    ("content", "message", "thinking"),
    [
        ("<think>so so", {}, True),
        (None, {"reasoning_content": "so so"}, True),
        ("", {"reasoning": "so so"}, True),
        ("<think>so</think> The", {}, False),
        ("The answer", {"reasoning_content": "so so"}, False),
    ],
)
def test_where_an_answer_was_cut(content: Any, message: dict[str, Any], thinking: bool) -> None:
    reply = chat_reply(chat(content, finish="length", **message), PROMPT, 8)
    assert (reply.limited, reply.thinking) == (True, thinking)


def test_content_may_come_in_parts() -> None:
    parts = [{"type": "text", "text": "B"}, {"type": "image"}, {"type": "text", "text": "."}]
    assert chat_reply(chat(parts), PROMPT, 8).text == "B."


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"error": {"message": "overloaded", "code": 503}}, "an error: overloaded"),
        ({"error": "out of memory"}, "an error: out of memory"),
        ({"choices": []}, "no choices"),
        ({"choices": [{"message": None}]}, "no choices"),
        ({"choices": [{"text": "B"}]}, "no choices"),
        ({"choices": [{"message": {"content": 3}}]}, "no choices"),
        ({"choices": {"a": 1}}, "no choices"),
        ([1, 2], "a JSON list"),
        ("B", "a JSON str"),
        (None, "a JSON NoneType"),
    ],
)
def test_what_is_no_answer_is_said(data: Any, says: str) -> None:
    with pytest.raises(GarbledError, match=says):
        chat_reply(data, PROMPT, 8)


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {},
        {"text_offset": [0, 5], "token_logprobs": [None]},
        {"text_offset": [0], "token_logprobs": [None]},
        {"text_offset": [0, 400], "token_logprobs": [None, float("nan")]},
        {"text_offset": "01", "token_logprobs": 3},
    ],
)
def test_log_probabilities_that_are_none(logprobs: Any) -> None:
    with pytest.raises(ValueError, match="no log-probabilities"):
        option_reply({"choices": [{"logprobs": logprobs}]}, PROMPT, " yes")


def test_a_reply_survives_being_kept() -> None:
    reply = Reply(text="B", prompt=9, value=-0.0, thinking=True)
    assert Reply(**reply.to_dict()) == reply
    assert "limited" not in reply.to_dict()


def test_half_of_a_character_is_replaced_since_it_cannot_be_kept() -> None:
    for content in ("a\ud83d", [{"type": "text", "text": "a\ud83d"}]):
        assert chat_reply(chat(content), PROMPT, 8).text == "a?"
