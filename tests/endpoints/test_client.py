"""A client's pace, time-out and refusals, against a real HTTP server on loopback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from astrosage.endpoints import pace
from astrosage.endpoints.client import Client
from astrosage.endpoints.kept import KeptAnswers
from astrosage.endpoints.replies import Reply, chat_reply
from astrosage.endpoints.service import RefusedError
from astrosage.endpoints.spending import Purse
from astrosage.errors import SpecError
from astrosage.runs.storage import Storage
from astrosage.spec.endpoint import Budget, Endpoint, Prices
from tests.endpoints.fake_service import Service, chat

pytestmark = pytest.mark.api


@pytest.fixture
def service() -> Iterator[Service]:
    found = Service()
    found.answer = lambda body: chat("yes")
    yield found
    found.close()


def client(service: Service, folder: Path, *, refusals: bool = False, **options: Any) -> Client:
    endpoint = Endpoint.model_validate({"url": service.url, "model": "m", **options})
    purse = Purse(None, None, KeptAnswers(Storage(folder)))
    return Client(endpoint, purse, 4, "generate.writer", refusals=refusals)


async def ask(asked: Client, count: int) -> list[Reply]:
    async def one(i: int) -> Reply:
        body = {"messages": [{"role": "user", "content": f"{i}?"}], "max_tokens": 4}
        return await asked.ask("chat/completions", body, lambda data: chat_reply(data, "?", 4))

    try:
        return list(await asyncio.gather(*map(one, range(count))))
    finally:
        await asked.close()


def begun(service: Service) -> list[float]:
    times: list[float] = []
    answer = service.answer

    def noted(body: dict[str, Any]) -> Any:
        times.append(time.monotonic())
        return answer(body)

    service.answer = noted
    return times


@pytest.mark.parametrize("limit", [{"requestsPerMinute": 3}, {"tokensPerMinute": 75}])
def test_the_pace_is_kept(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: dict[str, int]
) -> None:
    # A minute of 0.4 s: three requests in each, by number or by the 25 tokens that each takes.
    monkeypatch.setattr(pace, "WINDOW_SECONDS", 0.4)
    times = begun(service)
    replies = asyncio.run(ask(client(service, tmp_path, **limit), 9))
    assert [r.text for r in replies] == ["yes"] * 9
    assert times[-1] - times[0] > 0.7, "three windows, two waits"


def test_refusals_are_replies_only_where_that_is_wanted(service: Service, tmp_path: Path) -> None:
    good = service.answer
    service.answer = lambda body: (
        (422, {}, b'{"error": {"message": "too long"}}') if "1?" in str(body) else good(body)
    )
    asked = client(service, tmp_path / "a", refusals=True)
    replies = asyncio.run(ask(asked, 3))
    assert [r.problem is None for r in replies] == [True, False, True]
    assert "generate.writer" in str(replies[1].problem)
    assert "answers 422: too long" in str(replies[1].problem)
    assert asked.facts()["failed"] == 1
    asked.check()
    with pytest.raises(RefusedError, match="too long"):
        asyncio.run(ask(client(service, tmp_path / "b"), 3))


def test_a_service_that_refuses_all_is_told_once_that_is_plain(
    service: Service, tmp_path: Path
) -> None:
    service.answer = lambda body: (400, {}, b'{"error": {"message": "unknown field seed"}}')
    asked = client(service, tmp_path, refusals=True)
    asyncio.run(ask(asked, 8))
    asked.check()
    more = client(service, tmp_path / "more", refusals=True)
    asyncio.run(ask(more, 9))
    with pytest.raises(SpecError, match=r"refuses every request: .*unknown field seed"):
        more.check()


def test_one_budget_for_two_services(tmp_path: Path) -> None:
    kept = [KeptAnswers(Storage(tmp_path), name=f"{i}.jsonl") for i in range(2)]
    prices = [Prices(input_per_million=1, output_per_million=2), None]
    for one in kept:
        one.add("a", Reply(text="b", prompt=100, completion=50))
    budget = Budget(tokens=400)
    purse = Purse(budget, prices[0], kept[0], beside=((kept[1], prices[0]),), what="passages")
    assert (purse.tokens, purse.usd) == (300, pytest.approx(400e-6))
    purse.check()
    kept[1].add("b", Reply(text="b", prompt=100))
    assert "400 of 400 tokens): 3 of 9 passages are answered" in purse.error(3, 9).message
    half = Purse(budget, prices[0], kept[0], beside=((kept[1], prices[1]),))
    assert half.usd is None, "one of them has no prices"
