from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.serve.auth import Key
from astrosage.serve.errors import ApiError
from astrosage.serve.keys import Rates
from astrosage.serve.rates import Bucket, Limiter, Quota, span


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


# What happens to a bucket: time passes, or somebody wants an amount of which a share gets used,
# settled so many events later.
EVENTS = st.lists(
    st.one_of(
        st.floats(0, 90),
        st.tuples(st.integers(1, 130), st.floats(0, 1), st.integers(0, 6)),
    ),
    max_size=60,
)


@given(st.integers(1, 120), EVENTS)
def test_no_span_of_time_sees_more_than_the_rate_and_a_full_bucket(
    per_minute: int, events: list[float | tuple[int, float, int]]
) -> None:
    clock = Clock()
    bucket = Bucket(per_minute, clock)
    used: list[tuple[float, float]] = []
    open_: list[tuple[int, int, float]] = []
    for i, event in enumerate(events):
        if isinstance(event, float):
            clock.now += event
        else:
            amount, share, later = event
            if bucket.reserve(amount) == 0:
                open_.append((i + later, amount, amount * share))
        for entry in [e for e in open_ if e[0] <= i]:
            open_.remove(entry)
            bucket.settle(entry[1], entry[2])
            used.append((clock.now, entry[2]))
        assert 0 <= bucket.left <= per_minute
    for start, _ in used:
        for end, _ in used:
            spent = sum(amount for at, amount in used if start <= at <= end)
            if start <= end:
                assert spent <= per_minute + (end - start) * per_minute / 60 + 1e-3


@given(st.integers(1, 1000), st.lists(st.integers(1, 1000), min_size=1, max_size=30))
def test_who_waits_as_long_as_told_gets_in(per_minute: int, amounts: list[int]) -> None:
    clock = Clock()
    bucket = Bucket(per_minute, clock)
    for amount in amounts:
        if amount > per_minute:
            continue
        if wait := bucket.reserve(amount):
            clock.now += wait * 0.99
            still = bucket.reserve(amount)
            assert still > 0 or wait * per_minute / 60 < 1e-3
            if still == 0:
                bucket.settle(amount, amount)
                continue
            clock.now += wait * 0.01
            assert bucket.reserve(amount) == 0
        bucket.settle(amount, amount)


def test_what_was_not_used_is_free_again() -> None:
    clock = Clock()
    bucket = Bucket(100, clock)
    assert bucket.reserve(90) == 0
    assert bucket.left == 10
    bucket.settle(90, 30)
    assert bucket.left == 70
    clock.now += 60
    assert (bucket.left, bucket.full_in) == (100, 0)


def quota(clock: Clock, **limits: int) -> Quota:
    return Limiter(Rates(**limits), clock).quota(Key("ci"))


def test_too_many_requests_are_told_when_to_come_back() -> None:
    clock = Clock()
    limiter = Limiter(Rates(requests_per_minute=2), clock)
    for _ in range(2):
        limiter.quota(Key("ci")).count()
    with pytest.raises(ApiError, match="`ci`") as refused:
        limiter.quota(Key("ci")).count()
    assert (refused.value.status, refused.value.code) == (429, "rate_limit_exceeded")
    assert refused.value.response().headers["retry-after"] == "30"
    limiter.quota(Key("other")).count()  # has buckets of its own
    clock.now += 30
    limiter.quota(Key("ci")).count()


def test_a_request_that_can_never_pass_is_not_told_to_wait() -> None:
    with pytest.raises(ApiError, match=r"max_tokens: .* 60 .* 50 a minute") as refused:
        quota(Clock(), tokens_per_minute=50).reserve(60, "max_tokens")
    assert refused.value.status == 400


def test_headers_are_openais() -> None:
    clock = Clock()
    found = quota(clock, requests_per_minute=60, tokens_per_minute=600)
    found.count()
    found.reserve(100, "prompt")
    assert found.headers() == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "600",
        "x-ratelimit-remaining-tokens": "500",
        "x-ratelimit-reset-tokens": "10s",
    }
    found.settle(40)
    assert found.headers()["x-ratelimit-remaining-tokens"] == "560"
    found.settle(40)
    assert found.headers()["x-ratelimit-remaining-tokens"] == "560"
    assert quota(clock).headers() == {}


def test_new_limits_count_at_once() -> None:
    limiter = Limiter(Rates(requests_per_minute=1), Clock())
    limiter.quota(Key("ci")).count()
    with pytest.raises(ApiError):
        limiter.quota(Key("ci")).count()
    limiter.quota(Key("ci", rates=Rates(requests_per_minute=5))).count()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.0171, "18ms"), (1, "1s"), (1.5, "1.5s"), (360, "6m0s"), (75.25, "1m15.25s")],
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text
