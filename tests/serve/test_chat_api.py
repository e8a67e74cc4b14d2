from __future__ import annotations

from typing import Any

import openai
import pytest

from astrosage.serve.transformers_engine import TransformersEngine
from tests.serve.conftest import MODEL

pytestmark = pytest.mark.api

MESSAGES: list[Any] = [{"role": "user", "content": "What is a star?"}]


def ask(client: openai.OpenAI, **parameters: Any) -> Any:
    values: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "max_tokens": 40} | parameters
    return client.chat.completions.create(**values)


def joined(chunks: Any, index: int = 0) -> tuple[str, str | None, list[Any]]:
    text, reason = "", None
    logprobs: list[Any] = []
    for chunk in chunks:
        for choice in chunk.choices:
            if choice.index == index:
                text += choice.delta.content or ""
                reason = choice.finish_reason or reason
                logprobs += choice.logprobs.content if choice.logprobs else []
    return text, reason, logprobs


def test_models(client: openai.OpenAI) -> None:
    assert [m.id for m in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL


def test_answer_has_everything_a_client_reads(client: openai.OpenAI) -> None:
    answer = ask(client, temperature=0, max_tokens=5)
    assert answer.object == "chat.completion"
    assert answer.model == MODEL
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].logprobs is None
    assert answer.usage.completion_tokens == 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 5


@pytest.mark.parametrize(
    "parameters",
    [
        {"temperature": 0},
        {"seed": 3},
        {"seed": 5, "top_p": 0.8, "stop": ["e", "zz"]},
        {"seed": 7, "logprobs": True, "top_logprobs": 2},
        {"seed": 1, "logprobs": True, "stop": " a"},
    ],
)
def test_stream_equals_whole_answer(client: openai.OpenAI, parameters: dict[str, Any]) -> None:
    whole = ask(client, **parameters).choices[0]
    text, reason, logprobs = joined(ask(client, stream=True, **parameters))
    assert text == whole.message.content
    assert reason == whole.finish_reason
    assert logprobs == (whole.logprobs.content if whole.logprobs else [])


def test_choices_of_one_request_differ_and_can_be_had_again(client: openai.OpenAI) -> None:
    first = ask(client, seed=11, n=3)
    texts = [c.message.content for c in first.choices]
    assert [c.index for c in first.choices] == [0, 1, 2]
    assert len(set(texts)) == 3
    assert [c.message.content for c in ask(client, seed=11, n=3).choices] == texts
    assert ask(client, seed=12).choices[0].message.content == texts[1]
    chunks = list(ask(client, seed=11, n=3, stream=True))
    assert [joined(chunks, i)[0] for i in range(3)] == texts
    assert first.usage.completion_tokens == 3 * 40


def test_without_a_seed_answers_differ(client: openai.OpenAI) -> None:
    assert len({ask(client).choices[0].message.content for _ in range(3)}) == 3


def test_stop_text_across_tokens(client: openai.OpenAI) -> None:
    full = ask(client, seed=21, logprobs=True)
    text = full.choices[0].message.content
    tokens = [entry.token for entry in full.choices[0].logprobs.content]
    edge = len(tokens[0] + tokens[1] + tokens[2])
    stop = text[edge - 1 : edge + 1]  # last character of one token and first of the next
    assert text.startswith(tokens[0] + tokens[1] + tokens[2])
    answer = ask(client, seed=21, stop=[stop], logprobs=True)
    assert answer.choices[0].message.content == text[: text.index(stop)]
    assert answer.choices[0].finish_reason == "stop"
    kept = [entry.token for entry in answer.choices[0].logprobs.content]
    assert kept == tokens[: len(kept)]
    assert "".join(kept).startswith(answer.choices[0].message.content)


def test_logprobs(client: openai.OpenAI, engine: TransformersEngine) -> None:
    answer = ask(client, temperature=0, max_tokens=6, logprobs=True, top_logprobs=4)
    content = answer.choices[0].logprobs.content
    assert len(content) == 6
    for entry in content:
        assert len(entry.top_logprobs) == 4
        assert entry.top_logprobs[0].token == entry.token  # greedy takes the likeliest
        assert entry.top_logprobs[0].logprob == entry.logprob <= 0
    joined_bytes = b"".join(bytes(entry.bytes) for entry in content)
    assert joined_bytes.decode(errors="replace") == answer.choices[0].message.content


def test_usage_in_a_stream(client: openai.OpenAI) -> None:
    *chunks, last = ask(client, stream=True, stream_options={"include_usage": True}, seed=2)
    assert last.choices == []
    assert last.usage == ask(client, seed=2).usage
    assert all(chunk.usage is None for chunk in chunks)


def test_reasoning_switch_is_the_system_message(client: openai.OpenAI) -> None:
    spelled = [{"role": "system", "content": "Reasoning: on"}, *MESSAGES]
    switched = ask(client, seed=1, extra_body={"reasoning": "on"})
    assert switched.choices == ask(client, seed=1, messages=spelled).choices
    assert switched.usage.prompt_tokens > ask(client, seed=1).usage.prompt_tokens


def test_content_parts_are_joined(client: openai.OpenAI) -> None:
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "a star?"}]
    answer = ask(client, seed=1, messages=[{"role": "user", "content": parts}])
    assert answer.choices == ask(client, seed=1).choices


def test_an_answer_can_be_sent_back_as_history(client: openai.OpenAI) -> None:
    message = ask(client, seed=1).choices[0].message.model_dump()
    history = [*MESSAGES, message, {"role": "user", "content": "And?"}]
    assert ask(client, messages=history, max_tokens=1).usage.completion_tokens == 1
