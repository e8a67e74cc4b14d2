"""How fast a service may be asked: so many requests and tokens within any minute."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass

WINDOW_SECONDS = 60.0


@dataclass(slots=True)
class Turn:
    """A request that was let through.

    Attributes:
        begun: When, by the monotonic clock.
        tokens: What it counts as: an estimate, until the answer tells.
    """

    begun: float
    tokens: int


class Pace:
    """Lets requests through, in the order in which they ask, so that no minute has too many.

    Args:
        requests: Requests in a minute; None for any number.
        tokens: Tokens in a minute; None for any number. A request that is over it by itself goes
            through alone.
    """

    def __init__(self, requests: int | None, tokens: int | None) -> None:
        self._requests, self._tokens = requests, tokens
        self._begun: deque[Turn] = deque()
        self._lock = asyncio.Lock()

    async def turn(self, tokens: int) -> Turn:
        """Wait until a request of about so many tokens may begin."""
        if self._requests is None and self._tokens is None:
            return Turn(0.0, tokens)
        async with self._lock:
            while (wait := self._wait(tokens)) > 0:
                await asyncio.sleep(wait)
            mine = Turn(time.monotonic(), tokens)
            self._begun.append(mine)
            return mine

    def _wait(self, tokens: int) -> float:
        """Seconds until the oldest request leaves the window, if there is no room before."""
        now = time.monotonic()
        while self._begun and self._begun[0].begun <= now - WINDOW_SECONDS:
            self._begun.popleft()
        if not self._begun:
            return 0.0
        full = self._requests is not None and len(self._begun) >= self._requests
        if self._tokens is not None:
            full = full or sum(turn.tokens for turn in self._begun) + tokens > self._tokens
        # A little each time, since an answer may turn out to be shorter than it was taken to be.
        return min(self._begun[0].begun + WINDOW_SECONDS - now, 1.0) if full else 0.0
