"""Requests to an OpenAI-compatible service: patience, and errors that say what to do."""

from __future__ import annotations

import asyncio
import json
import math
import os
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from astrosage.endpoints.pace import Pace
from astrosage.endpoints.replies import GarbledError, estimate
from astrosage.errors import ClusterError, NotFoundError, SpecError
from astrosage.spec.endpoint import Endpoint

ATTEMPTS = 6
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0
_LONGEST_WAIT_SECONDS = 600.0  # that a service may ask for
_CONNECT_SECONDS, _ANSWER_SECONDS, _SECONDS_PER_TOKEN = 10.0, 120.0, 0.1
_RETRIED = (408, 409, 425, 429, 500, 502, 503, 504, 529)


class RefusedError(SpecError):
    """A service refuses one request for what it asks: too long, filtered, an unknown option."""


class Service:
    """One service; use within a running event loop.

    Args:
        endpoint: Address, model name and the environment variable with the key.
        longest: Tokens of the longest answer, which its time-out allows for.
        before: Called when a request is about to be sent; what it raises stops it.
        field: Where the endpoint stands in the run file, for messages.

    Attributes:
        retries: Requests that were sent again.

    Raises:
        SpecError: If the key's environment variable is not set.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        longest: int,
        before: Callable[[], None],
        field: str = "bench.endpoint",
    ) -> None:
        self._endpoint, self._before, self._field = endpoint, before, field
        self._headers = _headers(endpoint, field)
        answer = endpoint.timeout_seconds or _ANSWER_SECONDS + _SECONDS_PER_TOKEN * longest
        self._timeout = httpx.Timeout(answer, connect=min(_CONNECT_SECONDS, answer))
        self._pace = Pace(endpoint.requests_per_minute, endpoint.tokens_per_minute)
        self._client: httpx.AsyncClient | None = None
        self.retries = 0

    async def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def pause(self, attempt: int) -> None:
        """Wait before a request is sent again whose reply was no answer."""
        self.retries += 1
        await asyncio.sleep(min(_FIRST_PAUSE_SECONDS * 2**attempt, _LONGEST_PAUSE_SECONDS))

    async def post(self, gate: asyncio.Semaphore, path: str, body: dict[str, Any]) -> Any:
        """The JSON of a reply; trouble that passes is waited for.

        Args:
            gate: Held while a request is under way.
            path: The method.
            body: What is sent.

        Raises:
            GarbledError: If a reply with status 200 is no JSON.
            ClusterError: If the service cannot be reached or keeps failing.
            SpecError, NotFoundError: If it refuses the key, the model or the address.
            RefusedError: If it refuses this request.
        """
        url = f"{self._endpoint.url.rstrip('/')}/{path}"
        pause, problem = _FIRST_PAUSE_SECONDS, ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self.retries += 1
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            try:
                async with gate:
                    response = await self._send(url, body)
            except (httpx.TransportError, httpx.DecodingError) as error:
                problem = f"{type(error).__name__} {error}".strip()
                continue
            except httpx.InvalidURL as error:
                raise SpecError(
                    f"{self._field}.url: {self._endpoint.url} is no address: {error}",
                    "give the base URL that ends in /v1",
                ) from None
            if response.status_code not in _RETRIED:
                return self._read(response, path)
            problem = f"status {response.status_code}"
            pause = max(pause, _retry_after(response))
        raise ClusterError(
            f"{self._field}: {url} failed {ATTEMPTS} times, last with {problem}",
            "check that the service runs and is not overloaded, then resume; what it has answered "
            "is kept",
        )

    async def _send(self, url: str, body: dict[str, Any]) -> httpx.Response:
        """One request, when it is its turn."""
        size = estimate(json.dumps(body, ensure_ascii=False)) + int(body.get("max_tokens", 0))
        turn = await self._pace.turn(size)
        self._before()
        response = await self._opened().post(url, json=body)
        if self._endpoint.tokens_per_minute is not None:
            turn.tokens = _tokens_of(response, size)
        return response

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            limits = httpx.Limits(max_connections=self._endpoint.concurrency)
            self._client = httpx.AsyncClient(
                headers=self._headers, timeout=self._timeout, limits=limits
            )
        return self._client

    def _read(self, response: httpx.Response, path: str) -> Any:
        status, url, field = response.status_code, self._endpoint.url, self._field
        if status in (401, 403):
            variable = self._endpoint.api_key_env
            raise SpecError(
                f"{field}: {url} refuses the key (status {status})",
                f"put a valid key into the environment variable {variable}"
                if variable
                else f"name the environment variable that holds the key: {field}.apiKeyEnv",
            )
        if status == 404:
            raise NotFoundError(
                f"{field}: {url}/{path} answers 404: {_message(response)}",
                f"the URL must end in /v1, and the service must know model "
                f"`{self._endpoint.model}`: see {url}/models",
            )
        if not response.is_success:
            raise RefusedError(
                f"{field}: {url}/{path} answers {status}: {_message(response)}",
                "the service refuses this request; its message says why",
            )
        try:
            return response.json()
        except (ValueError, RecursionError):
            kind = response.headers.get("content-type", "no content type")
            raise GarbledError(f"{kind}, not JSON") from None


def _headers(endpoint: Endpoint, field: str) -> dict[str, str]:
    if endpoint.api_key_env is None:
        return {}
    key = os.environ.get(endpoint.api_key_env, "").strip()
    if not key:
        raise SpecError(
            f"{field}.apiKeyEnv: the environment variable {endpoint.api_key_env} is not set",
            f"export {endpoint.api_key_env}=… where the stage runs",
        )
    return {"Authorization": f"Bearer {key}"}


def _tokens_of(response: httpx.Response, estimated: int) -> int:
    """Tokens that a request turned out to take; none where it failed."""
    if not response.is_success:
        return 0
    try:
        told = response.json()["usage"]["total_tokens"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return estimated
    return told if isinstance(told, int) and 0 < told <= estimated else estimated


def _retry_after(response: httpx.Response) -> float:
    """Seconds that a service asks to wait: a number, or a date (RFC 9110, 10.2.3)."""
    value = response.headers.get("retry-after", "").strip()
    try:
        wait = float(value or 0)
    except ValueError:
        try:
            wait = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return 0.0 if math.isnan(wait) else min(max(wait, 0.0), _LONGEST_WAIT_SECONDS)


def _message(response: httpx.Response) -> str:
    """The service's own words, short."""
    try:
        data = response.json()
    except ValueError:
        kind = response.headers.get("content-type", "no content type")
        return f"({kind}, no message)"
    error = data.get("error", data) if isinstance(data, dict) else data
    message = error.get("message", error) if isinstance(error, dict) else error
    return str(message)[:300]
