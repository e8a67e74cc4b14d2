from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrosage.endpoints import pace
from astrosage.endpoints.pace import Pace


async def _begun(limits: Pace, sizes: list[int]) -> list[tuple[float, int]]:
    found: list[tuple[float, int]] = []

    async def one(size: int) -> None:
        await limits.turn(size)
        found.append((time.monotonic(), size))

    await asyncio.gather(*map(one, sizes))
    return found


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=12),
    st.integers(1, 6) | st.none(),
    st.integers(20, 90) | st.none(),
)
def test_no_window_has_more_than_is_allowed(
    sizes: list[int], requests: int | None, tokens: int | None
) -> None:
    window = 0.05
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pace, "WINDOW_SECONDS", window)
        found = asyncio.run(_begun(Pace(requests, tokens), sizes))
    assert [size for _, size in found] == sizes, "in the order in which they asked"
    for begin, _ in found:
        # The clock is read a little after the turn: leave that out.
        inside = [size for t, size in found if begin <= t < begin + window - 0.004]
        if requests is not None:
            assert len(inside) <= requests
        if tokens is not None:
            assert sum(inside) <= tokens or len(inside) == 1


def test_a_short_answer_gives_room_back() -> None:
    async def ask() -> float:
        limits = Pace(None, 100)
        turn = await limits.turn(100)
        turn.tokens = 5
        began = time.monotonic()
        await limits.turn(90)
        return time.monotonic() - began

    assert asyncio.run(ask()) < 30


def test_without_limits_nobody_waits() -> None:
    began = time.monotonic()
    assert len(asyncio.run(_begun(Pace(None, None), [10**9] * 1000))) == 1000
    assert time.monotonic() - began < 30
