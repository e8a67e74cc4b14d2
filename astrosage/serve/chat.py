"""``POST /v1/chat/completions``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from astrosage.errors import DataError
from astrosage.serve.engine import Engine, GenerationRequest, TokenScore
from astrosage.serve.errors import ApiError
from astrosage.serve.limits import Fields, answer_length
from astrosage.serve.observe import Record, record_of
from astrosage.serve.openai_types import ChatBody
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
from astrosage.serve.text import ReasoningSplitter
from astrosage.serve.tokens import Tokens


async def respond(service: Service, body: ChatBody, request: Request) -> Response:
    """Answer a conversation, whole or as events.

    Raises:
        ApiError: Naming the field that cannot be honoured.
    """
    engine, record = service.engine_for(body.model), record_of(request)
    if service.watch.log_prompts:
        record.prompt = [message.model_dump() for message in body.messages]
    try:
        # In a thread: a prompt of a megabyte would hold up everybody's tokens.
        prompt_ids, prompt = await asyncio.to_thread(engine.tokens.encode_chat, body.conversation())
    except DataError as error:
        raise ApiError(400, f"messages: {error.message}", param="messages") from error
    newer = body.max_completion_tokens is not None
    length = answer_length(
        body.max_completion_tokens if newer else body.max_tokens,
        default=service.limits.max_tokens,
        prompt=len(prompt_ids),
        context=engine.context_length,
        limits=service.limits,
        fields=Fields("messages", "max_completion_tokens" if newer else "max_tokens"),
    )
    top = (body.top_logprobs or 0) if body.logprobs else None
    ticket = service.admission.enter(body.n or 1, "n")
    try:
        record.admit(len(prompt_ids), length * (body.n or 1), "messages")
    except BaseException:
        ticket.release()
        raise
    chat = _Chat(
        engine,
        body,
        sequences(body, prompt_ids, length, top, service.limits.queue_timeout),
        record,
        inside=prompt.rstrip().endswith(ReasoningSplitter.OPEN),
    )
    timeout = service.limits.request_timeout
    if body.stream:
        return EventStream(chat.events(), ticket, record, timeout)
    return await respond_unless_gone(request, chat.whole(), ticket, record, timeout)


class _Chat:
    def __init__(
        self,
        engine: Engine,
        body: ChatBody,
        requests: list[GenerationRequest],
        record: Record,
        *,
        inside: bool,
    ) -> None:
        self._engine = engine
        self._body = body
        self._requests = requests
        self._record = record
        self._inside = inside
        self._prompt_tokens = len(requests[0].prompt_ids)
        self._head = {"id": new_id("chatcmpl"), "created": int(time.time()), "model": body.model}

    async def whole(self) -> dict[str, Any]:
        answers = await collect(self._engine, self._requests, self._record)
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [self._choice(i, answer) for i, answer in enumerate(answers)],
            "usage": usage(self._prompt_tokens, sum(a.tokens for a in answers)),
        }

    async def events(self) -> AsyncGenerator[str, None]:
        splitters = [ReasoningSplitter(inside=self._inside) for _ in self._requests]
        counts = [0] * len(splitters)
        for i in range(len(splitters)):
            yield self._chunk(i, {"role": "assistant", "content": ""})
        async with aclosing(merge(self._engine, self._requests, self._record)) as events:
            async for i, event in events:
                counts[i] = event.tokens
                reasoning, content = splitters[i].push(event.text)
                if event.finish_reason:
                    more = splitters[i].flush()
                    reasoning, content = reasoning + more[0], content + more[1]
                if reasoning:
                    yield self._chunk(i, {"reasoning_content": reasoning})
                if content or event.scores:
                    yield self._chunk(i, {"content": content}, event.scores)
                if event.finish_reason:
                    yield self._chunk(i, {}, finish_reason=event.finish_reason)
        if self._body.wants_usage:
            yield self._envelope([], usage=usage(self._prompt_tokens, sum(counts)))
        yield DONE

    def _choice(self, index: int, answer: Answer) -> dict[str, Any]:
        splitter = ReasoningSplitter(inside=self._inside)
        head, tail = splitter.push(answer.text), splitter.flush()
        message = {"role": "assistant", "content": head[1] + tail[1]}
        if reasoning := head[0] + tail[0]:
            message["reasoning_content"] = reasoning
        return {
            "index": index,
            "message": message,
            "logprobs": self._logprobs(answer.scores),
            "finish_reason": answer.finish_reason,
        }

    def _chunk(
        self,
        index: int,
        delta: dict[str, str],
        scores: Sequence[TokenScore] = (),
        finish_reason: str | None = None,
    ) -> str:
        logprobs = self._logprobs(scores) if scores else None
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
        }
        return self._envelope([choice])

    def _envelope(self, choices: list[dict[str, Any]], **more: Any) -> str:
        return sse({**self._head, "object": "chat.completion.chunk", "choices": choices, **more})

    def _logprobs(self, scores: Sequence[TokenScore]) -> dict[str, Any] | None:
        if not self._body.logprobs:
            return None
        tokens = self._engine.tokens
        content = [
            {
                **_entry(tokens, score.token_id, score.logprob),
                "top_logprobs": [_entry(tokens, token_id, p) for token_id, p in score.top],
            }
            for score in scores
        ]
        return {"content": content, "refusal": None}


def _entry(tokens: Tokens, token_id: int, logprob: float | None) -> dict[str, Any]:
    return {
        "token": tokens.token_text(token_id),
        "logprob": logprob,
        "bytes": list(tokens.token_bytes(token_id)),
    }
