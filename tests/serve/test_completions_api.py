from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest

from astrosage.serve.transformers_engine import TransformersEngine
from tests.serve.conftest import MODEL

pytestmark = pytest.mark.api

PROMPT = "A star is a ball"


def complete(client: openai.OpenAI, prompt: Any = PROMPT, **parameters: Any) -> Any:
    values: dict[str, Any] = {"model": MODEL, "prompt": prompt, "max_tokens": 20} | parameters
    return client.completions.create(**values)


def test_default_length_is_that_of_the_api(client: openai.OpenAI) -> None:
    answer = client.completions.create(model=MODEL, prompt=PROMPT, temperature=0)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 16


@pytest.mark.parametrize(
    "parameters",
    [{"temperature": 0}, {"seed": 3, "echo": True}, {"seed": 4, "echo": True, "logprobs": 2}],
)
def test_stream_equals_whole_answer(client: openai.OpenAI, parameters: dict[str, Any]) -> None:
    whole = complete(client, **parameters).choices[0]
    chunks = [c.choices[0] for c in complete(client, stream=True, **parameters)]
    assert "".join(c.text for c in chunks) == whole.text
    assert chunks[-1].finish_reason == whole.finish_reason
    if whole.logprobs:
        for name in ("tokens", "token_logprobs", "text_offset"):
            parts = [value for c in chunks for value in getattr(c.logprobs, name)]
            assert parts == getattr(whole.logprobs, name)


def test_prompts_are_answered_in_order(client: openai.OpenAI, engine: TransformersEngine) -> None:
    prompts = [PROMPT, "The universe", "Galaxies rotate"]
    alone = [complete(client, p, seed=5).choices[0].text for p in prompts]
    assert [c.text for c in complete(client, prompts, seed=5).choices] == alone
    ids = [engine.tokens.encode(p) for p in prompts]
    assert [c.text for c in complete(client, ids, seed=5).choices] == alone
    assert complete(client, ids[1], seed=5).choices[0].text == alone[1]
    double = complete(client, prompts, seed=5, n=2).choices
    assert [c.text for c in double[::2]] == alone


def test_prompt_is_scored(client: openai.OpenAI, engine: TransformersEngine) -> None:
    answer = complete(client, max_tokens=0, echo=True, logprobs=2)
    choice = answer.choices[0]
    ids = engine.tokens.encode(PROMPT)
    expected = asyncio.run(engine.score(ids, 2))
    assert choice.text == PROMPT
    assert choice.finish_reason == "length"
    assert answer.usage.completion_tokens == 0
    assert "".join(choice.logprobs.tokens) == PROMPT
    assert choice.logprobs.token_logprobs == [s.logprob for s in expected]
    assert choice.logprobs.top_logprobs[0] is None
    for score, top in zip(expected[1:], choice.logprobs.top_logprobs[1:], strict=True):
        assert top[engine.tokens.token_text(score.token_id)] == score.logprob
        assert max(top.values()) == score.top[0][1]
    assert choice.logprobs.text_offset == [
        len(engine.tokens.decode(ids[:i])) for i in range(len(ids))
    ]


def test_scored_prompt_and_answer_follow_each_other(client: openai.OpenAI) -> None:
    choice = complete(client, echo=True, logprobs=0, max_tokens=4, temperature=0).choices[0]
    # What was generated, given back as part of a prompt, must score as it did when generated.
    again = complete(client, choice.text, echo=True, logprobs=0, max_tokens=0).choices[0]
    assert again.logprobs.tokens == choice.logprobs.tokens
    assert again.logprobs.text_offset == choice.logprobs.text_offset
    assert again.logprobs.token_logprobs[1:] == pytest.approx(
        choice.logprobs.token_logprobs[1:], abs=0.03
    )


def test_echo_of_several_prompts(client: openai.OpenAI) -> None:
    choices = complete(client, [PROMPT, "Planets"], echo=True, max_tokens=0, n=2).choices
    assert [c.text for c in choices] == [PROMPT, PROMPT, "Planets", "Planets"]
    assert [c.index for c in choices] == [0, 1, 2, 3]
