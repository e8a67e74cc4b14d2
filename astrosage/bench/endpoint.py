"""Scoring a served model through the OpenAI API, as vLLM, Ray Serve and others speak it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

import httpx

from astrosage.bench import prompts
from astrosage.bench.questions import Question
from astrosage.bench.tasks import Inputs, Results, Task
from astrosage.errors import ClusterError, NotFoundError, SpecError
from astrosage.spec.stages import Endpoint

_CONCURRENCY = 8
_ATTEMPTS = 6
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0
_TIMEOUT = httpx.Timeout(120.0, connect=10.0)
_RETRIED = (408, 409, 425, 429, 500, 502, 503, 504, 529)


class EndpointScorer:
    """Performs tasks against an OpenAI-compatible service.

    Args:
        endpoint: Address, model name and the environment variable with the key.
        inputs: What is scored.
        seed: Sent along; decoding is greedy.

    Raises:
        SpecError: If the key's environment variable is not set.
    """

    def __init__(self, endpoint: Endpoint, inputs: Inputs, seed: int = 0) -> None:
        self._endpoint, self._inputs, self._seed = endpoint, inputs, seed
        self._headers = _headers(endpoint)

    def perform(self, todo: Sequence[Task]) -> Results:
        """Do all tasks, eight requests at a time.

        Raises:
            ClusterError: If the service cannot be reached or keeps failing.
            SpecError, NotFoundError: If it refuses the key, the model or the address.
        """
        with asyncio.Runner() as runner:
            client = httpx.AsyncClient(headers=self._headers, timeout=_TIMEOUT)
            gate = asyncio.Semaphore(_CONCURRENCY)
            try:
                for task in todo:
                    yield task, runner.run(self._batch(client, gate, task))
            finally:
                runner.run(client.aclose())

    async def _batch(
        self, client: httpx.AsyncClient, gate: asyncio.Semaphore, task: Task
    ) -> list[Any]:
        one = self._likelihood if task.work == "likelihood" else self._generation
        questions: list[Question] = self._inputs.of(task)
        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(one(client, gate, q)) for q in questions]
        except ExceptionGroup as group_error:
            raise group_error.exceptions[0] from None
        return [r.result() for r in running]

    async def _generation(
        self, client: httpx.AsyncClient, gate: asyncio.Semaphore, question: Question
    ) -> str:
        body = {
            "messages": [{"role": "user", "content": prompts.multiple_choice(question)}],
            "max_tokens": self._inputs.max_new_tokens,
        }
        answer = await self._post(client, gate, "chat/completions", body)
        try:
            text = answer["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            raise self._foreign("chat/completions", "no choices[0].message.content") from None
        return str(text or "").strip()

    async def _likelihood(
        self, client: httpx.AsyncClient, gate: asyncio.Semaphore, question: Question
    ) -> list[float]:
        prompt = prompts.cloze(question)
        return [
            await self._option(client, gate, prompt, prompts.continuation(choice))
            for choice in question.choices
        ]

    async def _option(
        self, client: httpx.AsyncClient, gate: asyncio.Semaphore, prompt: str, option: str
    ) -> float:
        text = prompt + option
        # One token is asked for since some services refuse none; it is not counted.
        body = {"prompt": text, "max_tokens": 1, "echo": True, "logprobs": 1}
        answer = await self._post(client, gate, "completions", body)
        try:
            found = answer["choices"][0]["logprobs"]
            offsets, values = found["text_offset"], found["token_logprobs"]
            ends = [*offsets[1:], len(text)]
            scored = [
                float(value)
                for value, begin, end in zip(values, offsets, ends, strict=True)
                if begin < len(text) and end > len(prompt)
            ]
        except (KeyError, IndexError, TypeError, ValueError):
            scored = []
        if not scored:
            raise SpecError(
                f"bench.endpoint: {self._endpoint.url}/completions does not give the prompt's "
                "log-probabilities (echo with logprobs)",
                "leave `likelihood` out of bench.methods for this service",
            )
        return sum(scored)

    async def _post(
        self, client: httpx.AsyncClient, gate: asyncio.Semaphore, path: str, body: dict[str, Any]
    ) -> Any:
        url = f"{self._endpoint.url.rstrip('/')}/{path}"
        common = {"model": self._endpoint.model, "temperature": 0, "seed": self._seed}
        pause, problem = _FIRST_PAUSE_SECONDS, ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            try:
                async with gate:
                    response = await client.post(url, json=common | body)
            except httpx.TransportError as error:
                problem = f"{type(error).__name__} {error}".strip()
                continue
            if response.status_code not in _RETRIED:
                return self._read(response, path)
            problem = f"status {response.status_code}"
            pause = max(pause, _retry_after(response))
        raise ClusterError(
            f"bench.endpoint: {url} failed {_ATTEMPTS} times, last with {problem}",
            "check that the service runs and is not overloaded, then resume",
        )

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
        except ValueError:
            kind = response.headers.get("content-type", "no content type")
            raise self._foreign(path, f"{kind}, not JSON") from None

    def _foreign(self, path: str, found: str) -> SpecError:
        return SpecError(
            f"bench.endpoint: {self._endpoint.url}/{path} is no OpenAI-compatible API: {found}",
            "give the base URL that ends in /v1",
        )


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
    try:
        wait = float(response.headers.get("retry-after", 0))
    except ValueError:  # a date; our own pauses will do
        return 0.0
    return min(max(wait, 0.0), _LONGEST_PAUSE_SECONDS)


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
