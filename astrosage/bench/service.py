"""Requests to an OpenAI-compatible service: patience, and errors that say what to do."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from astrosage.bench.replies import GarbledError
from astrosage.errors import ClusterError, NotFoundError, SpecError
from astrosage.spec.bench import Endpoint

ATTEMPTS = 6
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0
_LONGEST_WAIT_SECONDS = 600.0  # that a service may ask for
_CONNECT_SECONDS, _ANSWER_SECONDS, _SECONDS_PER_TOKEN = 10.0, 120.0, 0.1
_RETRIED = (408, 409, 425, 429, 500, 502, 503, 504, 529)


class Service:
    """One service; use within a running event loop.

    Args:
        endpoint: Address, model name and the environment variable with the key.
        longest: Tokens of the longest answer, which its time-out allows for.
        before: Called when a request is about to be sent; what it raises stops it.

    Attributes:
        retries: Requests that were sent again.

    Raises:
        SpecError: If the key's environment variable is not set.
    """

    def __init__(self, endpoint: Endpoint, longest: int, before: Callable[[], None]) -> None:
        self._endpoint, self._before = endpoint, before
        self._headers = _headers(endpoint)
        self._timeout = httpx.Timeout(
            _ANSWER_SECONDS + _SECONDS_PER_TOKEN * longest, connect=_CONNECT_SECONDS
        )
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
                    self._before()
                    response = await self._opened().post(url, json=body)
            except (httpx.TransportError, httpx.DecodingError) as error:
                problem = f"{type(error).__name__} {error}".strip()
                continue
            except httpx.InvalidURL as error:
                raise SpecError(
                    f"bench.endpoint.url: {self._endpoint.url} is no address: {error}",
                    "give the base URL that ends in /v1",
                ) from None
            if response.status_code not in _RETRIED:
                return self._read(response, path)
            problem = f"status {response.status_code}"
            pause = max(pause, _retry_after(response))
        raise ClusterError(
            f"bench.endpoint: {url} failed {ATTEMPTS} times, last with {problem}",
            "check that the service runs and is not overloaded, then resume; what it has answered "
            "is kept",
        )

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            limits = httpx.Limits(max_connections=self._endpoint.concurrency)
            self._client = httpx.AsyncClient(
                headers=self._headers, timeout=self._timeout, limits=limits
            )
        return self._client

    def _read(self, response: httpx.Response, path: str) -> Any:
        status, url = response.status_code, self._endpoint.url
        if status in (401, 403):
            variable = self._endpoint.api_key_env
            raise SpecError(
                f"bench.endpoint: {url} refuses the key (status {status})",
                f"put a valid key into the environment variable {variable}"
                if variable
                else "name the environment variable that holds the key: bench.endpoint.apiKeyEnv",
            )
        if status == 404:
            raise NotFoundError(
                f"bench.endpoint: {url}/{path} answers 404: {_message(response)}",
                f"the URL must end in /v1, and the service must know model "
                f"`{self._endpoint.model}`: see {url}/models",
            )
        if not response.is_success:
            raise SpecError(
                f"bench.endpoint: {url}/{path} answers {status}: {_message(response)}",
                "the service refuses this request; its message says why",
            )
        try:
            return response.json()
        except (ValueError, RecursionError):
            kind = response.headers.get("content-type", "no content type")
            raise GarbledError(f"{kind}, not JSON") from None


def _headers(endpoint: Endpoint) -> dict[str, str]:
    if endpoint.api_key_env is None:
        return {}
    key = os.environ.get(endpoint.api_key_env, "").strip()
    if not key:
        raise SpecError(
            f"bench.endpoint.apiKeyEnv: the environment variable {endpoint.api_key_env} is not set",
            f"export {endpoint.api_key_env}=… where the stage runs",
        )
    return {"Authorization": f"Bearer {key}"}


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
