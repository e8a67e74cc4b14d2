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
from astrosage.serve.errors import ApiError, from_failure
from astrosage.serve.limits import Ticket
from astrosage.serve.observe import CLIENT_CLOSED, Record

DONE = "data: [DONE]\n\n"
# A client that reads slowly gets so many seconds more for what is on its way already.
_SENDING_SECONDS = 10.0

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
    engine: Engine, requests: Sequence[GenerationRequest], record: Record | None = None
) -> AsyncGenerator[tuple[int, TokenEvent], None]:
    """The events of several sequences as they come, each with its sequence's index.

    Args:
        engine: The model.
        requests: The sequences.
        record: Told of every token when it is made, however late it is read.

    Raises:
        EngineError: If one fails; the others are given up.
    """
    queue: asyncio.Queue[tuple[int, TokenEvent] | BaseException | None] = asyncio.Queue()

    async def pump(index: int, events: Events) -> None:
        end: BaseException | None = None
        try:
            async with aclosing(events):
                async for event in events:
                    if record is not None:
                        record.token(index, event)
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


async def collect(
    engine: Engine, requests: Sequence[GenerationRequest], record: Record | None = None
) -> list[Answer]:
    """The whole answer of each sequence."""
    answers = [Answer() for _ in requests]
    async with aclosing(merge(engine, requests, record)) as events:
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
        record: The request's record.
        timeout: Seconds from the request's arrival in which the answer must be whole.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[str, None],
        ticket: Ticket,
        record: Record,
        timeout: float | None = None,
    ) -> None:
        self._events = events
        self._ticket, self._record, self._timeout = ticket, record, timeout
        self._whole = False
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(self._until_failure(), headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; starlette stops them when the client leaves."""
        left = _left(self._timeout, self._record)
        try:
            async with asyncio.timeout(None if left is None else left + _SENDING_SECONDS):
                await super().__call__(scope, receive, send)
        except TimeoutError:
            pass  # the client does not read; its connection is closed without an end
        finally:
            try:
                await self._events.aclose()
            finally:
                if not self._whole:
                    self._record.status = CLIENT_CLOSED
                self._ticket.release()

    async def _until_failure(self) -> AsyncGenerator[str, None]:
        """The events, or an error object: clients take it for a failure, the status being sent."""
        try:
            while True:
                try:
                    async with asyncio.timeout(_left(self._timeout, self._record)):
                        event = await anext(self._events)
                except TimeoutError:
                    raise _too_late(self._timeout) from None
                yield event
        except StopAsyncIteration:
            self._whole = True
        except Exception as error:
            failure = from_failure(error)
            self._whole, self._record.status = True, failure.status
            yield sse(failure.body())


async def respond_unless_gone(
    request: Request,
    work: Coroutine[Any, Any, dict[str, Any]],
    ticket: Ticket,
    record: Record,
    timeout: float | None = None,
) -> Response:
    """The work's result as JSON, or nothing once the client has left.

    Raises:
        ApiError: 504 if it is not done in time.
    """
    task = asyncio.create_task(work)
    watch = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait(
            (task, watch),
            timeout=_left(timeout, record),
            return_when=asyncio.FIRST_COMPLETED,
        )
        if task.done():
            return JSONResponse(task.result())
        if watch.done():
            return Response(status_code=CLIENT_CLOSED)
        raise _too_late(timeout)
    finally:
        task.cancel()
        watch.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)
        ticket.release()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _left(timeout: float | None, record: Record) -> float | None:
    return None if timeout is None else max(0.0, timeout - record.seconds)


def _too_late(timeout: float | None) -> ApiError:
    return ApiError(
        504,
        f"the answer was not whole after {timeout:g} s, this server's limit; ask for fewer tokens",
        code="timeout",
    )
