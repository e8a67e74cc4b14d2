from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from astrosage.serve import transformers_engine
from astrosage.serve.engine import EngineError, GenerationRequest, TokenEvent, TokenScore
from astrosage.serve.streaming import Answer, collect
from astrosage.serve.transformers_engine import TransformersEngine

PROMPTS = ["A star is", "Planets move around the Sun on", "The universe", "Galaxies rotate faster"]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16).eval()


@pytest.fixture
def cramped(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TransformersEngine]:
    """An engine with room for one full context only, that reads prompts 8 tokens at a time."""
    monkeypatch.setattr(transformers_engine, "_CPU_CACHE_BYTES", 0)
    monkeypatch.setattr(transformers_engine, "_STEP_TOKENS", {"cpu": 8})
    engine = TransformersEngine.load(tiny_model, max_concurrent=4, threads=1)
    yield engine
    engine.close()


def request(engine: TransformersEngine, prompt: str, **parameters: Any) -> GenerationRequest:
    values: dict[str, Any] = {"max_tokens": 40, "temperature": 0.0} | parameters
    return GenerationRequest(engine.tokens.encode(prompt), **values)


def answers(engine: TransformersEngine, *requests: GenerationRequest) -> list[Answer]:
    return asyncio.run(collect(engine, requests))


@torch.inference_mode()
def forward(model: Any, ids: list[int]) -> torch.Tensor:
    """Log-probabilities [T, V] of a plain forward pass."""
    logprobs: torch.Tensor = model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
    return logprobs


def own_ids(answer: Answer) -> list[int]:
    return [score.token_id for score in answer.scores]


def test_greedy_equals_generate(engine: TransformersEngine, model: Any) -> None:
    requests = [request(engine, p, top_logprobs=0) for p in PROMPTS]
    for asked, answer in zip(requests, answers(engine, *requests), strict=True):
        prompt = torch.tensor([list(asked.prompt_ids)])
        with torch.inference_mode():
            expected = model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=40,
                do_sample=False,
            )
        assert own_ids(answer) == expected[0, prompt.shape[1] :].tolist()


def test_logprobs_equal_a_plain_forward_pass(engine: TransformersEngine, model: Any) -> None:
    asked = request(engine, PROMPTS[0], temperature=1.5, top_p=0.9, seed=4, top_logprobs=3)
    (answer,) = answers(engine, asked)
    prompt = list(asked.prompt_ids)
    check_scores(answer.scores, forward(model, prompt + own_ids(answer))[len(prompt) - 1 :])


@pytest.mark.parametrize("fixture", ["engine", "cramped"])
def test_prompt_scores_equal_a_plain_forward_pass(
    fixture: str, model: Any, request: pytest.FixtureRequest
) -> None:
    engine: TransformersEngine = request.getfixturevalue(fixture)
    ids = engine.tokens.encode(" ".join(PROMPTS))
    found = asyncio.run(engine.score(ids, 3))
    assert [s.token_id for s in found] == ids
    assert found[0] == TokenScore(ids[0], None)
    check_scores(found[1:], forward(model, ids))


def check_scores(found: list[TokenScore], logprobs: torch.Tensor) -> None:
    assert found
    for score, row in zip(found, logprobs, strict=False):
        assert score.logprob == pytest.approx(float(row[score.token_id]), abs=0.03)
        assert len(score.top) == 3
        for token_id, logprob in score.top:
            assert logprob == pytest.approx(float(row[token_id]), abs=0.03)
        assert score.top[0][1] == pytest.approx(float(row.max()), abs=0.03)


def test_a_seed_gives_the_same_text_alone_and_in_company(engine: TransformersEngine) -> None:
    requests = [
        request(engine, p, temperature=1.0, top_p=0.95, seed=i) for i, p in enumerate(PROMPTS)
    ]
    alone = [answers(engine, r)[0].text for r in requests]
    assert [a.text for a in answers(engine, *requests, *requests)] == alone * 2
    assert len(set(alone)) == len(alone)
    other = request(engine, PROMPTS[0], temperature=1.0, top_p=0.95, seed=99)
    assert answers(engine, other)[0].text != alone[0]


def test_answers_survive_a_full_cache(
    cramped: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [
        request(cramped, p, temperature=1.0, seed=i, max_tokens=150, top_logprobs=0)
        for i, p in enumerate(PROMPTS)
    ]
    alone = [own_ids(answers(cramped, r)[0]) for r in requests]
    put_off = spy(monkeypatch, cramped._manager.batch_processor.offloading_manager)
    together = [own_ids(a) for a in answers(cramped, *requests)]
    assert any(put_off)
    assert together == alone


def spy(monkeypatch: pytest.MonkeyPatch, offloading: Any) -> list[bool]:
    """Whether each call that should make room in the cache did so."""
    results: list[bool] = []
    offload = offloading.offload_requests

    def noted() -> bool:
        results.append(offload())
        return results[-1]

    monkeypatch.setattr(offloading, "offload_requests", noted)
    return results


def test_closing_the_iterator_frees_the_slot(engine: TransformersEngine) -> None:
    async def leave_early() -> None:
        events: AsyncIterator[TokenEvent]
        async with aclosing(engine.generate(request(engine, PROMPTS[0], max_tokens=200))) as events:
            await anext(events)
        for _ in range(200):
            if not engine._manager.batch_processor.scheduler.has_pending_requests():
                return
            await asyncio.sleep(0.01)
        pytest.fail("the manager still runs the request")

    asyncio.run(leave_early())
    assert not engine._running


def test_scores_and_answers_share_the_model(engine: TransformersEngine) -> None:
    asked = request(engine, PROMPTS[0], max_tokens=100)
    ids = engine.tokens.encode(PROMPTS[1])

    async def both() -> tuple[list[Answer], list[list[TokenScore]]]:
        scoring = asyncio.gather(*(engine.score(ids, 1) for _ in range(10)))
        return await collect(engine, [asked]), await scoring

    expected = answers(engine, asked), [asyncio.run(engine.score(ids, 1))] * 10
    assert asyncio.run(both()) == expected


def test_a_dead_loop_fails_requests_and_the_health_check(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = TransformersEngine.load(tiny_model, max_concurrent=2, threads=1)

    def broken(*args: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("astrosage.serve.picker.choose", broken)
    with pytest.raises(EngineError, match="out of memory"):
        answers(engine, request(engine, PROMPTS[0]))
    engine._manager.join(0.0, timeout=5)
    with pytest.raises(EngineError):
        engine.check()
    engine.close()


def test_a_closed_engine_leaves_no_thread(tiny_model: Path) -> None:
    before = threading.active_count()
    engine = TransformersEngine.load(tiny_model, max_concurrent=2, threads=1)
    asyncio.run(engine.score([1, 2, 3], 0))
    engine.close()
    engine.close()
    engine._scorer.shutdown(wait=True)
    assert threading.active_count() == before
    with pytest.raises(EngineError, match="shut down"):
        answers(engine, request(engine, PROMPTS[0]))
