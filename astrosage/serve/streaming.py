"""Running several sequences as one answer, sending it as events, and noticing who has left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from astrosage.serve.engine import (
    Engine,
    FinishReason,
    GenerationRequest,
    TokenEvent,
    TokenScore,
)
from astrosage.serve.errors import from_failure
from astrosage.serve.limits import Ticket

DONE = "data: [DONE]\n\n"
# What nginx calls a request whose client has gone; nobody reads it.
_CLIENT_CLOSED = 499

Events = AsyncGenerator[TokenEvent, None]


@dataclass
class Answer:
    """One sequence's whole answer."""

    text: str = ""
    tokens: int = 0
    scores: list[TokenScore] = field(default_factory=list)
    finish_reason: FinishReason | None = None

    def add(self, event: TokenEvent) -> None:
        """Take in the next event."""
        self.text += event.text
        self.tokens = event.tokens
        self.scores += event.scores
        self.finish_reason = event.finish_reason


async def merge(
    engine: Engine, requests: Sequence[GenerationRequest]
) -> AsyncGenerator[tuple[int, TokenEvent], None]:
    """The events of several sequences as they come, each with its sequence's index.

    Raises:
        EngineError: If one fails; the others are given up.
    """
    queue: asyncio.Queue[tuple[int, TokenEvent] | BaseException | None] = asyncio.Queue()

    async def pump(index: int, events: Events) -> None:
        end: BaseException | None = None
        try:
            async with aclosing(events):
                async for event in events:
                    queue.put_nowait((index, event))
        except Exception as error:
            end = error
        queue.put_nowait(end)

    tasks = [asyncio.create_task(pump(i, engine.generate(r))) for i, r in enumerate(requests)]
    try:
        running = len(tasks)
        while running:
            item = await queue.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                running -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def collect(engine: Engine, requests: Sequence[GenerationRequest]) -> list[Answer]:
    """The whole answer of each sequence."""
    answers = [Answer() for _ in requests]
    async with aclosing(merge(engine, requests)) as events:
        async for index, event in events:
            answers[index].add(event)
    return answers


def sse(data: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"


class EventStream(StreamingResponse):
    """Server-sent events that give their ticket back however they end.

    Args:
        events: The events, already in their wire form.
        ticket: Leave to run.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[str, None], ticket: Ticket) -> None:
        self._events = events
        self._ticket = ticket
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(_until_failure(events), headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; starlette stops them when the client leaves."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            try:
                await self._events.aclose()
            finally:
                self._ticket.release()


async def _until_failure(events: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    try:
        async for event in events:
            yield event
    except Exception as error:
        # The status has been sent; clients take an error object in the stream for the failure.
        yield sse(from_failure(error).body())


async def respond_unless_gone(
    request: Request, work: Coroutine[Any, Any, dict[str, Any]], ticket: Ticket
) -> Response:
    """The work's result as JSON, or nothing once the client has left."""
    task = asyncio.create_task(work)
    watch = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait((task, watch), return_when=asyncio.FIRST_COMPLETED)
        return JSONResponse(task.result()) if task.done() else Response(status_code=_CLIENT_CLOSED)
    finally:
        task.cancel()
        watch.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)
        ticket.release()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
