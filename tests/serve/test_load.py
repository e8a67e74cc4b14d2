"""The load generator sees what goes wrong, and nothing does."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from astrosage.serve.limits import Limits
from astrosage.serve.transformers_engine import TransformersEngine
from tests.serve.conftest import KEY, MODEL, make_service, serving

FOLDER = Path(__file__).parents[2] / "benchmarks" / "serve"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("asks", "load"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import load  # type: ignore[import-not-found]

    module: ModuleType = load
    return module


def samples(load: Any, **texts: dict[int, str]) -> list[Any]:
    asks = [load.asks.marked(i, "m") for i in range(len(texts))]
    return [
        load.Sample(ask, status=200, texts=given)
        for ask, given in zip(asks, texts.values(), strict=True)
    ]


def test_verdicts(load: Any) -> None:
    marks = [load.asks.marked(i, "m").marker for i in range(6)]
    made = samples(
        load,
        own={0: marks[0] + " a"},
        short={0: marks[1] + " a"},
        mixed={0: marks[0] + " a"},
        wrong={0: "?"},
        also_mixed={0: marks[4], 1: marks[3]},
        none={},
    )
    assert load.verdicts(made) == {"own": 1, "incomplete": 2, "mixed up": 2, "wrong": 1}
    made[0].status = 429
    made[1].status = 0
    found = load.verdicts(made)
    assert (found["refused"], found["failed"]) == (1, 1)
    assert sum(found.values()) == 6


@pytest.mark.api
def test_an_overload_loses_and_mixes_up_nothing(load: Any, engine: TransformersEngine) -> None:
    service = make_service(engine, Limits(max_concurrent=4, max_queue=4, max_tokens=16))
    with serving(service) as url:
        made, seconds = asyncio.run(
            load.run(
                f"{url}/v1",
                KEY,
                lambda number: load.asks.marked(number, MODEL),
                300,
                clients=32,
            )
        )
    found = load.verdicts(made)
    assert set(found) <= {"own", "refused"}
    assert found["own"] > 8
    assert found["refused"] > 0
    summary = load.summary(made, seconds)
    assert summary["answered"] == found["own"]
    assert summary["failed"] == {}
    assert service.admission.in_flight == 0
