from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrosage.endpoints.spending import BudgetReachedError
from astrosage.generate.loop import in_order


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=30), st.integers(1, 6))
def test_results_come_in_order_and_no_more_are_under_way_than_allowed(
    delays: list[int], at_once: int
) -> None:
    busy = most = 0

    async def work(i: int) -> int:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.0005 * delays[i])
        busy -= 1
        return i

    with asyncio.Runner() as runner:
        found = list(in_order(runner, iter(range(len(delays))), work, at_once))
    assert found == list(range(len(delays)))
    assert most <= at_once


def test_an_error_is_told_at_once_though_it_is_not_its_turn() -> None:
    async def work(i: int) -> int:
        if i == 3:
            raise ValueError("three")
        await asyncio.sleep(5 if i == 0 else 0)
        return i

    begun: list[int] = []

    def items() -> Iterator[int]:
        for i in range(1000):
            begun.append(i)
            yield i

    with asyncio.Runner() as runner, pytest.raises(ValueError, match="three"):
        list(in_order(runner, items(), work, 4))
    assert len(begun) < 20


def test_a_budget_ends_it_with_all_that_came_to_an_end() -> None:
    async def work(i: int) -> int:
        if i in (5, 6):
            raise BudgetReachedError
        await asyncio.sleep(0.02 if i == 4 else 0)
        return i

    found: list[int] = []
    with asyncio.Runner() as runner, pytest.raises(BudgetReachedError):
        found.extend(in_order(runner, iter(range(1000)), work, 4))
    assert found[:5] == [0, 1, 2, 3, 4], "the slow one is waited for"
    assert found == sorted(found)
    assert len(found) < 20
