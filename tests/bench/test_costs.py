from __future__ import annotations

import pytest

from astrosage.bench.costs import summarize
from astrosage.bench.results import Collected
from astrosage.bench.tasks import Done, Task
from astrosage.endpoints.usage import Usage, per_100k, price
from astrosage.spec.bench import Prices

PRICES = Prices(input_per_million=1.0, output_per_million=4.0)


def collected() -> Collected:
    found = Collected()
    for role, work, used, seconds in (
        ("model", "likelihood", Usage(60_000), 10.0),
        ("model", "generation", Usage(30_000, 10_000, 4_000), 20.0),
        ("model", "heldout", Usage(5_000), 10.0),
        ("baseline", "likelihood", Usage(60_000), 40.0),
    ):
        found.add(Done(Task(role, work, (0,)), ["x"], used, seconds))  # type: ignore[arg-type]
    return found


def test_a_model_of_one_s_own_bears_its_share_of_the_workers_time() -> None:
    cost = summarize(
        collected(), seconds=100, workers=2, price_per_hour=36, served=False, prices=None
    )
    assert cost["usd"] == pytest.approx(1.0)
    model, base = cost["model"], cost["baseline"]
    assert model["usd"] == pytest.approx(30 / 80)
    assert base["usd"] == pytest.approx(40 / 80)
    assert model["tokens"] == {
        "prompt": 90_000,
        "completion": 10_000,
        "reasoning": 4_000,
        "estimatedAnswers": 0,
    }
    assert cost["usdPer100kTokens"] == model["usdPer100kTokens"] == pytest.approx(30 / 80)
    assert cost["tokens"] == model["tokens"]


def test_a_service_costs_what_its_price_table_says() -> None:
    found = Collected()
    task = Task("model", "generation", (0,))
    found.add(Done(task, ["x"], Usage(100_000, 50_000, 20_000, 3)))
    cost = summarize(found, seconds=10, workers=0, price_per_hour=None, served=True, prices=PRICES)
    assert cost["usd"] == pytest.approx(0.3)
    assert cost["usdPer100kTokens"] == pytest.approx(0.2)
    assert cost["tokens"]["estimatedAnswers"] == 3
    assert cost["baseline"] is None


def test_what_is_not_known_is_not_made_up() -> None:
    cost = summarize(
        collected(), seconds=100, workers=2, price_per_hour=None, served=False, prices=None
    )
    assert (cost["usd"], cost["usdPer100kTokens"], cost["model"]["usd"]) == (None, None, None)
    assert price(Usage(1, 1), None) is None
    assert per_100k(1.0, Usage()) is None
