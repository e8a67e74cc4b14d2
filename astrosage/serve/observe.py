"""Each request is watched from its arrival to its end: key, status, tokens and times."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from astrosage.errors import StorageError
from astrosage.serve import metrics
from astrosage.serve.access_log import AccessLog
from astrosage.serve.engine import TokenEvent
from astrosage.serve.errors import from_failure
from astrosage.serve.metrics import Meters
from astrosage.serve.rates import Quota
from astrosage.serve.usage import UsageFile

logger = logging.getLogger(__name__)

# What nginx calls a request whose client has gone; nobody reads it.
CLIENT_CLOSED = 499
_LONGEST_PATH, _LONGEST_ID = 200, 100
# Only these become labels: a client must not be able to make as many series as it likes.
_PATHS = frozenset(
    (
        *("/", "/healthz", "/metrics", "/openapi.json"),
        *("/v1/models", "/v1/chat/completions", "/v1/completions"),
    )
)


class Watch:
    """Where what is seen goes.

    Args:
        meters: Metrics, if there are any.
        log: The access log, if there is one.
        usage: Sums by key, if they are kept.
        log_prompts: Whether prompts go into the access log.
    """

    def __init__(
        self,
        meters: Meters | None = None,
        log: AccessLog | None = None,
        usage: UsageFile | None = None,
        *,
        log_prompts: bool = False,
    ) -> None:
        self.meters, self.log_prompts = meters, log_prompts
        self._log, self._usage = log, usage

    def ended(self, record: Record) -> None:
        """Take in a request that has ended."""
        record.settle()
        if self.meters is not None:
            _measure(self.meters, record)
        if self._usage is not None and record.key and record.is_work:
            self._usage.add(record.key, record.read_tokens, record.completion_tokens)
        if self._log is not None:
            try:
                self._log.write(record.entry())
            except StorageError as error:  # an answer is worth more than its line
                logger.warning("%s", error.message)

    def state(self, in_flight: int, cache_use: float | None) -> None:
        """Tell how busy the server is now."""
        if self.meters is not None:
            self.meters.record(metrics.IN_FLIGHT, in_flight)
            if cache_use is not None:
                self.meters.record(metrics.CACHE_USE, cache_use)

    def close(self) -> None:
        """Write what is left."""
        if self._usage is not None:
            self._usage.close()


class Record:
    """One request.

    Args:
        scope: Its ASGI scope.
        meters: Metrics, if there are any.

    Attributes:
        id: What the request is called in logs. Ray Serve, or another proxy in front, names it in
            ``x-request-id`` and tells the client; where nobody did, this server does both.
        key: Name of the key, once it is known.
        quota: The key's limits.
        status: HTTP status, once it is known; 499 for a client that left.
        prompt_tokens: Tokens of the prompts.
        completion_tokens: Tokens generated so far.
        prompt: What was asked, if that is logged.
    """

    def __init__(self, scope: Scope, meters: Meters | None = None) -> None:
        self._named = Headers(scope=scope).get("x-request-id", "")[:_LONGEST_ID]
        self.id = self._named or uuid.uuid4().hex
        self.began = time.perf_counter()
        self.key = ""
        self.quota: Quota | None = None
        self.status = 0
        self.prompt_tokens = self.completion_tokens = 0
        self.prompt: Any = None
        root = str(scope.get("root_path") or "")
        self._method, self._path = str(scope["method"]), str(scope["path"]).removeprefix(root)
        self._meters = meters
        self._queued: float | None = None
        self._first: float | None = None
        self._last: dict[int, float] = {}
        self._counts: dict[int, int] = {}
        self._scored = False

    @property
    def is_work(self) -> bool:
        """Whether a model was asked, as far as the path tells."""
        return self._method == "POST" and self._path in _PATHS

    @property
    def read_tokens(self) -> int:
        """Tokens of prompts that the model has read: none, if the request was refused."""
        return self.prompt_tokens if self._scored or self._first is not None else 0

    @property
    def label(self) -> str:
        """The path, as metrics have it."""
        if self._path.startswith("/v1/models/"):
            return "/v1/models/{name}"
        return self._path if self._path in _PATHS else "other"

    def admit(self, prompt_tokens: int, most: int, param: str) -> None:
        """Note the prompt, and claim the tokens of the request from its key's limit.

        Args:
            prompt_tokens: Tokens of all prompts.
            most: Most tokens that can be generated.
            param: The field that decides.

        Raises:
            ApiError: If the key's limit does not allow it.
        """
        if self.quota is not None:
            self.quota.reserve(prompt_tokens + most, param)
        self.prompt_tokens = prompt_tokens

    def scored(self) -> None:
        """The prompts were read for their scores."""
        self._scored = True

    def token(self, sequence: int, event: TokenEvent) -> None:
        """A token came."""
        now = time.perf_counter()
        last = self._last.get(sequence)
        if last is None:
            self._begun(now, event.queued)
        elif self._meters is not None:
            self._meters.record(metrics.INTER_TOKEN, now - last)
        self._last[sequence] = now
        self.completion_tokens += event.tokens - self._counts.get(sequence, 0)
        self._counts[sequence] = event.tokens

    def settle(self) -> None:
        """Give back the tokens that were claimed and not used."""
        if self.quota is not None:
            self.quota.settle(self.read_tokens + self.completion_tokens)

    def headers(self) -> Iterable[tuple[str, str]]:
        """What goes with the answer."""
        if not self._named:
            yield "x-request-id", self.id
        if self.quota is not None:
            yield from self.quota.headers().items()

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return time.perf_counter() - self.began

    def entry(self) -> dict[str, Any]:
        """Its line of the access log."""
        times = {"queue": self._queued, "firstToken": self._first, "total": self.seconds}
        entry: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "id": self.id,
            "key": self.key or None,
            "method": self._method,
            "path": self._path[:_LONGEST_PATH],
            "status": self.status,
            "promptTokens": self.read_tokens,
            "completionTokens": self.completion_tokens,
            "seconds": {name: round(s, 4) for name, s in times.items() if s is not None},
        }
        return entry if self.prompt is None else {**entry, "prompt": self.prompt}

    def _begun(self, now: float, queued: float | None) -> None:
        if queued is not None:
            self._queued = max(queued, self._queued or 0.0)
            if self._meters is not None:
                self._meters.record(metrics.QUEUE, queued)
        if self._first is None:
            self._first = now - self.began
            if self._meters is not None:
                self._meters.record(metrics.FIRST_TOKEN, self._first)


def record_of(request: Request) -> Record:
    """A request's record."""
    record: Record = request.state.record
    return record


class Observer:
    """ASGI middleware that keeps a record of each request.

    It also turns what nobody caught into an error object, so that it has a record too.

    Args:
        app: The application.
        watch: Where records go.
    """

    def __init__(self, app: ASGIApp, watch: Watch) -> None:
        self._app, self._watch = app, watch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = Record(scope, self._watch.meters)
        scope.setdefault("state", {})["record"] = record

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = record.status or message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in record.headers():
                    headers[name] = value
            await send(message)

        try:
            await self._app(scope, receive, observed)
        except Exception as error:
            if record.status:  # the answer has begun: the connection can only be closed
                raise
            await from_failure(error).response()(scope, receive, observed)
        finally:
            record.status = record.status or CLIENT_CLOSED
            self._watch.ended(record)


def _measure(meters: Meters, record: Record) -> None:
    labels = {"path": record.label, "status": str(record.status), "key": record.key}
    meters.record(metrics.REQUESTS, 1, **labels)
    meters.record(metrics.REQUEST_SECONDS, record.seconds, path=record.label)
    if record.is_work and record.key:
        meters.record(metrics.PROMPT_TOKENS, record.read_tokens, key=record.key)
        meters.record(metrics.COMPLETION_TOKENS, record.completion_tokens, key=record.key)
