"""Many conversations at once, their results in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from astrosage.endpoints.spending import BudgetReachedError

Item = TypeVar("Item")
Result = TypeVar("Result")
_HELD = 16  # results that wait for a slow one before them, for each conversation under way


def in_order(
    runner: asyncio.Runner,
    items: Iterator[Item],
    work: Callable[[Item], Coroutine[Any, Any, Result]],
    at_once: int,
) -> Iterator[Result]:
    """Results in the order of their items.

    Args:
        runner: Runs the event loop while this waits.
        items: Taken as there is room.
        work: What is done with each.
        at_once: How many are under way.

    Raises:
        BudgetReachedError: If one of them met it, after the results of all that came to an end.
        Exception: The first that another one raised, at once; the rest is given up.
    """
    running: deque[asyncio.Task[Result]] = deque()  # in order, those that came to an end too
    busy: set[asyncio.Task[Result]] = set()
    more, met_budget = True, False
    try:
        while True:
            while more and len(busy) < at_once and len(running) < _HELD * at_once:
                item = next(items, None)
                if item is None:
                    more = False
                    break
                task = runner.get_loop().create_task(work(item))
                running.append(task)
                busy.add(task)
            if not busy:
                break
            done = runner.run(_next(busy))
            busy -= done
            met_budget |= _met_budget(done)
            # What is under way when the budget ends will be paid for: it is waited for.
            more = more and not met_budget
            while not met_budget and running and running[0].done():
                yield running.popleft().result()
        if met_budget:
            for task in running:
                if task.exception() is None:
                    yield task.result()
            raise BudgetReachedError
    finally:
        runner.run(_cancelled(busy))


async def _next(busy: set[asyncio.Task[Result]]) -> set[asyncio.Task[Result]]:
    """Those that come to an end next."""
    done, _ = await asyncio.wait(busy, return_when=asyncio.FIRST_COMPLETED)
    return done


def _met_budget(done: set[asyncio.Task[Result]]) -> bool:
    """Whether one of them met the budget; any other error is raised."""
    errors = [error for task in done if (error := task.exception()) is not None]
    for error in errors:
        if not isinstance(error, BudgetReachedError):
            raise error
    return bool(errors)


async def _cancelled(busy: set[asyncio.Task[Result]]) -> None:
    for task in busy:
        task.cancel()
    await asyncio.gather(*busy, return_exceptions=True)
