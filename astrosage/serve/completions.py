"""``POST /v1/completions``, which also scores prompts: ``echo`` with ``logprobs``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from astrosage.serve.engine import Engine, GenerationRequest, TokenScore
from astrosage.serve.errors import ApiError
from astrosage.serve.limits import Fields, Limits, answer_length
from astrosage.serve.observe import Record, record_of
from astrosage.serve.openai_types import CompletionBody
from astrosage.serve.service import Service, new_id, sequences, usage
from astrosage.serve.streaming import (
    DONE,
    Answer,
    EventStream,
    collect,
    merge,
    respond_unless_gone,
    sse,
)
from astrosage.serve.text import Detokenizer
from astrosage.serve.tokens import Tokens

_DEFAULT_TOKENS = 16  # of OpenAI's API


async def respond(service: Service, body: CompletionBody, request: Request) -> Response:
    """Complete one or more prompts, whole or as events.

    Raises:
        ApiError: Naming the field that cannot be honoured.
    """
    engine, record = service.engine_for(body.model), record_of(request)
    if service.watch.log_prompts:
        record.prompt = body.prompt
    n = body.n or 1
    # Before anything is tokenised: a body may hold very many prompts.
    ticket = service.admission.enter(len(body.prompt) * n, "prompt" if n == 1 else "n")
    try:
        # In a thread: a prompt of a megabyte would hold up everybody's tokens.
        prompts = [await asyncio.to_thread(_encode, engine, prompt) for prompt in body.prompt]
        completion = _Completion(engine, body, prompts, service.limits, record)
        record.admit(completion.prompt_tokens, completion.most_tokens, "prompt")
    except BaseException:
        ticket.release()
        raise
    timeout = service.limits.request_timeout
    if body.stream:
        return EventStream(completion.events(), ticket, record, timeout)
    return await respond_unless_gone(request, completion.whole(), ticket, record, timeout)


@dataclass(frozen=True)
class _Prompt:
    ids: list[int]
    text: str


def _encode(engine: Engine, prompt: str | list[int]) -> _Prompt:
    tokens = engine.tokens
    if isinstance(prompt, str):
        ids = tokens.encode(prompt)
        if not ids:
            raise ApiError(400, "prompt: has no tokens", param="prompt", code="empty_prompt")
        return _Prompt(ids, prompt)
    if max(prompt) >= tokens.size:
        raise ApiError(
            400,
            f"prompt: token id {max(prompt)} is not in the vocabulary of {tokens.size}",
            param="prompt",
            code="invalid_token",
        )
    return _Prompt(prompt, tokens.decode(prompt))


class _Completion:
    def __init__(
        self,
        engine: Engine,
        body: CompletionBody,
        prompts: list[_Prompt],
        limits: Limits,
        record: Record,
    ) -> None:
        self._engine = engine
        self._body = body
        self._prompts = prompts
        self._record = record
        self._n = body.n or 1
        self._requests: list[GenerationRequest] = []
        for prompt in prompts:
            length = answer_length(
                body.max_tokens,
                default=min(_DEFAULT_TOKENS, limits.max_tokens),
                prompt=len(prompt.ids),
                context=engine.context_length,
                limits=limits,
                fields=Fields("prompt"),
            )
            if length:
                self._requests += sequences(
                    body, prompt.ids, length, body.logprobs, limits.queue_timeout
                )
        self._head = {
            "id": new_id("cmpl"),
            "object": "text_completion",
            "created": int(time.time()),
            "model": body.model,
        }

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all prompts."""
        return sum(len(prompt.ids) for prompt in self._prompts)

    @property
    def most_tokens(self) -> int:
        """Most tokens that can be generated."""
        return sum(request.max_tokens for request in self._requests)

    async def whole(self) -> dict[str, Any]:
        echoes = [await self._echo(prompt) for prompt in self._prompts]
        answers = await collect(self._engine, self._requests, self._record)
        if not answers:  # max_tokens is 0: the prompts are only scored
            answers = [Answer(finish_reason="length") for _ in range(len(echoes) * self._n)]
        choices = []
        for i, answer in enumerate(answers):
            echo = echoes[i // self._n]
            scores = [*echo.scores, *_shift(answer.scores, len(echo.text))]
            choices.append(self._choice(i, echo.text + answer.text, scores, answer.finish_reason))
        total = self._usage(sum(a.tokens for a in answers))
        return {**self._head, "choices": choices, "usage": total}

    async def events(self) -> AsyncGenerator[str, None]:
        offsets = [0] * (len(self._prompts) * self._n)
        counts = [0] * len(offsets)
        if self._body.echo:
            for i in range(len(offsets)):
                echo = await self._echo(self._prompts[i // self._n])
                offsets[i] = len(echo.text)
                reason = None if self._requests else "length"
                yield self._chunk(self._choice(i, echo.text, echo.scores, reason))
        async with aclosing(merge(self._engine, self._requests, self._record)) as events:
            async for i, event in events:
                counts[i] = event.tokens
                if event.text or event.scores or event.finish_reason:
                    scores = _shift(event.scores, offsets[i])
                    yield self._chunk(self._choice(i, event.text, scores, event.finish_reason))
        if self._body.wants_usage:
            yield sse({**self._head, "choices": [], "usage": self._usage(sum(counts))})
        yield DONE

    async def _echo(self, prompt: _Prompt) -> Answer:
        if not self._body.echo:
            return Answer()
        if self._body.logprobs is None:
            return Answer(text=prompt.text)
        scores = await self._engine.score(prompt.ids, self._body.logprobs)
        self._record.scored()
        offsets = _offsets(self._engine.tokens, prompt.ids)
        placed = [
            replace(score, text_offset=offset)
            for score, offset in zip(scores, offsets, strict=True)
        ]
        return Answer(text=prompt.text, scores=placed)

    def _choice(
        self, index: int, text: str, scores: Sequence[TokenScore], finish_reason: str | None
    ) -> dict[str, Any]:
        wanted = self._body.logprobs is not None
        return {
            "index": index,
            "text": text,
            "logprobs": _logprobs(self._engine.tokens, scores) if wanted else None,
            "finish_reason": finish_reason,
        }

    def _chunk(self, choice: dict[str, Any]) -> str:
        return sse({**self._head, "choices": [choice]})

    def _usage(self, completion_tokens: int) -> dict[str, int]:
        return usage(self.prompt_tokens, completion_tokens)


def _shift(scores: Sequence[TokenScore], by: int) -> list[TokenScore]:
    return [replace(score, text_offset=score.text_offset + by) for score in scores]


def _offsets(tokens: Tokens, token_ids: Sequence[int]) -> list[int]:
    """Where each token's text starts."""
    detokenizer = Detokenizer(tokens.decode)
    offsets, length = [], 0
    for token_id in token_ids:
        offsets.append(length)
        length += len(detokenizer.push(token_id))
    return offsets


def _logprobs(tokens: Tokens, scores: Sequence[TokenScore]) -> dict[str, list[Any]]:
    return {
        "tokens": [tokens.token_text(score.token_id) for score in scores],
        "token_logprobs": [score.logprob for score in scores],
        "top_logprobs": [_alternatives(tokens, score) for score in scores],
        "text_offset": [score.text_offset for score in scores],
    }


def _alternatives(tokens: Tokens, score: TokenScore) -> dict[str, float] | None:
    """The likeliest tokens by text; the token itself is always among them, as at OpenAI."""
    if score.logprob is None:
        return None
    found = {tokens.token_text(score.token_id): score.logprob}
    for token_id, logprob in score.top:
        found.setdefault(tokens.token_text(token_id), logprob)
    return found
