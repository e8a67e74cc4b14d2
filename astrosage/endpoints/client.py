"""A service that is asked: answers are kept, garbled ones asked for again, all of it counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from astrosage.endpoints.kept import KeptAnswers, key_of
from astrosage.endpoints.replies import GarbledError, Reply
from astrosage.endpoints.service import RefusedError, Service
from astrosage.endpoints.spending import Purse
from astrosage.endpoints.watch import Watch
from astrosage.spec.endpoint import Endpoint

_GARBLED_ATTEMPTS = 3


class Client:
    """Asks one service.

    Args:
        endpoint: Address, model name and the environment variable with the key.
        purse: What may be spent; it also keeps the answers.
        longest: Tokens of the longest answer, which its time-out allows for.
        field: Where the endpoint stands in the run file, for messages.
        refusals: Whether a request that the service refuses for what it asks is a reply with that
            problem; else the error is raised.

    Raises:
        SpecError: If the key's environment variable is not set.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        purse: Purse,
        longest: int,
        field: str = "bench.endpoint",
        *,
        refusals: bool = False,
    ) -> None:
        self._endpoint, self._refusals = endpoint, refusals
        self._kept: KeptAnswers = purse.kept
        self._service = Service(endpoint, longest, purse.check, field)
        self._watch = Watch(endpoint, field)
        self._gate = asyncio.Semaphore(endpoint.concurrency)

    async def ask(self, path: str, body: dict[str, Any], read: Callable[[Any], Reply]) -> Reply:
        """A reply: the one that was kept, or a new one, which is kept.

        Args:
            path: The method, such as ``chat/completions``.
            body: What is sent beside the model's name.
            read: Makes a reply of the answer's JSON; raises ``GarbledError`` where it is none.

        Raises:
            BudgetReachedError: If nothing may be spent any more.
            ClusterError: If the service cannot be reached or keeps failing.
            SpecError, NotFoundError: If it refuses the key, the model or the address.
        """
        sent = {"model": self._endpoint.model} | body
        key = key_of(self._endpoint.url, path, sent)
        reply = self._kept.get(key)
        reused = reply is not None
        if reply is None:
            reply = await self._new(path, sent, read)
            self._kept.add(key, reply)
        self._watch.note(reply, reused=reused)
        return reply

    async def _new(self, path: str, sent: dict[str, Any], read: Callable[[Any], Reply]) -> Reply:
        """Ask, and again if what comes is no answer; then the problem takes the answer's place."""
        problem = ""
        for attempt in range(_GARBLED_ATTEMPTS):
            try:
                return read(await self._service.post(self._gate, path, sent))
            except GarbledError as error:
                problem = str(error)
                if attempt + 1 < _GARBLED_ATTEMPTS:
                    await self._service.pause(attempt)
            except RefusedError as error:
                if not self._refusals:
                    raise
                self._watch.refused()
                return Reply(problem=error.message)
        return Reply(problem=problem)

    def check(self) -> None:
        """Stop if the service does not answer.

        Raises:
            SpecError: If not one reply was an answer.
            ClusterError: If most are none any more.
        """
        self._watch.check()

    def facts(self) -> dict[str, Any]:
        """What the service did, for the summary."""
        return self._watch.facts(self._service.retries)

    async def close(self) -> None:
        """Hang up, and make sure that all answers are stored."""
        await self._service.close()
        self._kept.close()
