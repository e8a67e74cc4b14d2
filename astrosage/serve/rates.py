"""Limits of requests and tokens a minute for each key: token buckets."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from astrosage.serve.auth import Key
from astrosage.serve.errors import ApiError
from astrosage.serve.keys import Rates

# Below this a difference is rounding: who waits as long as told must not be refused once more.
_EPSILON = 1e-6

Clock = Callable[[], float]


class Bucket:
    """A token bucket whose takers may not know beforehand how much they need.

    A taker reserves the most it may need and settles for what it used. What is reserved counts as
    being in the bucket until then, so that in any span of time no more is used, by the time of
    settling, than the rate allows and a full bucket holds.

    Args:
        per_minute: Rate of refilling, and the size of the bucket.
        clock: Seconds.
    """

    def __init__(self, per_minute: int, clock: Clock = time.monotonic) -> None:
        self.size = float(per_minute)
        self._rate = per_minute / 60
        self._clock = clock
        self._level = self.size
        self._reserved = 0.0
        self._at = clock()

    @property
    def left(self) -> float:
        """What could be reserved now."""
        self._refill()
        return max(0.0, self._level - self._reserved)

    @property
    def full_in(self) -> float:
        """Seconds until it is full again, if all that is reserved gets used."""
        return (self.size - self.left) / self._rate

    def reserve(self, amount: float) -> float:
        """Set an amount apart; gives 0, or the seconds after which to try again."""
        short = amount - self.left
        if short > _EPSILON:
            return short / self._rate
        self._reserved += amount
        return 0.0

    def settle(self, reserved: float, used: float) -> None:
        """End a reservation; what was not used is free again."""
        self._refill()
        self._reserved -= reserved
        self._level -= min(used, reserved)

    def _refill(self) -> None:
        now = self._clock()
        self._level = min(self.size, self._level + max(0.0, now - self._at) * self._rate)
        self._at = now


class Quota:
    """One request's claim on its key's buckets.

    Args:
        name: The key's, for messages.
        requests: Bucket of requests, if they are limited.
        tokens: Bucket of tokens, if they are limited.
    """

    def __init__(self, name: str, requests: Bucket | None, tokens: Bucket | None) -> None:
        self._name, self._requests, self._tokens = name, requests, tokens
        self._reserved = 0

    def count(self) -> None:
        """Count the request.

        Raises:
            ApiError: 429, if there were too many in the last minute.
        """
        if self._requests is None:
            return
        if wait := self._requests.reserve(1):
            raise _refused("requests", self._name, self._requests, wait)
        self._requests.settle(1, 1)

    def reserve(self, tokens: int, param: str) -> None:
        """Claim the most tokens that the request can use.

        Args:
            tokens: Of its prompts and of its longest answers.
            param: The field that decides.

        Raises:
            ApiError: 400 if it can never pass, 429 if it cannot pass now.
        """
        if self._tokens is None:
            return
        if tokens > self._tokens.size:
            raise ApiError(
                400,
                f"{param}: prompt and answer may need {tokens} tokens, and this key may use "
                f"{self._tokens.size:.0f} a minute",
                param=param,
                code="tokens_per_minute_exceeded",
            )
        if wait := self._tokens.reserve(tokens):
            raise _refused("tokens", self._name, self._tokens, wait)
        self._reserved = tokens

    def settle(self, tokens: int) -> None:
        """Give back what was not used; further calls do nothing."""
        if self._tokens is not None and self._reserved:
            self._tokens.settle(self._reserved, tokens)
        self._reserved = 0

    def headers(self) -> dict[str, str]:
        """OpenAI's ``x-ratelimit-*`` headers of what is limited."""
        found = {}
        for kind, bucket in (("requests", self._requests), ("tokens", self._tokens)):
            if bucket is not None:
                found[f"x-ratelimit-limit-{kind}"] = f"{bucket.size:.0f}"
                found[f"x-ratelimit-remaining-{kind}"] = f"{math.floor(bucket.left + _EPSILON)}"
                found[f"x-ratelimit-reset-{kind}"] = span(bucket.full_in)
        return found


class Limiter:
    """The buckets of all keys; each replica of a server has its own.

    Args:
        default: Limits of a key that has none of its own.
        clock: Seconds.
    """

    def __init__(self, default: Rates, clock: Clock = time.monotonic) -> None:
        self._default, self._clock = default, clock
        self._buckets: dict[str, tuple[Rates, Bucket | None, Bucket | None]] = {}

    def quota(self, key: Key) -> Quota:
        """A new request's claim on a key's buckets, which start anew when its limits change."""
        rates = key.rates.over(self._default)
        found = self._buckets.get(key.name)
        if found is None or found[0] != rates:
            requests = self._bucket(rates.requests_per_minute)
            found = (rates, requests, self._bucket(rates.tokens_per_minute))
            self._buckets[key.name] = found
        return Quota(key.name, found[1], found[2])

    def _bucket(self, per_minute: int | None) -> Bucket | None:
        return None if per_minute is None else Bucket(per_minute, self._clock)


def span(seconds: float) -> str:
    """A time as OpenAI's headers have it: ``17ms``, ``1.5s``, ``6m0s``."""
    milliseconds = math.ceil(seconds * 1000 - _EPSILON)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    told = f"{rest / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{minutes}m{told}s" if minutes else f"{told}s"


def _refused(kind: str, name: str, bucket: Bucket, wait: float) -> ApiError:
    return ApiError(
        429,
        f"{kind} per minute: the key `{name}` may use {bucket.size:.0f} {kind} a minute; try again "
        f"in {span(wait)}",
        code="rate_limit_exceeded",
        retry_after=wait,
    )
