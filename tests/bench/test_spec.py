from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from astrosage.errors import SpecError
from astrosage.spec.changes import differences
from astrosage.spec.load import parse, with_absolute_paths
from astrosage.spec.stages import Stage

ENDPOINT = {"url": "http://h/v1", "model": "m"}
PRICES = {"inputPerMillion": 1, "outputPerMillion": 2}


def job(**bench: Any) -> dict[str, Any]:
    if "endpoint" not in bench:
        bench["model"] = "smollm2-135m"
    body = {"questions": [{"path": "quiz.jsonl"}], **bench}
    return {
        "metadata": {"name": "b"},
        "spec": {"model": "smollm2-135m", "stages": [{"name": "score", "bench": body}]},
    }


def stage(**bench: Any) -> Stage:
    return parse(job(**bench)).stage("score")


@pytest.mark.parametrize(
    ("bench", "says"),
    [
        ({"shots": 3}, "`shots: 3` needs `shotsFrom`"),
        ({"shotsFrom": "dev.jsonl"}, "`shotsFrom` needs `shots`"),
        ({"budget": {"tokens": 5}}, "`budget` belongs to an `endpoint`"),
        ({"endpoint": ENDPOINT, "budget": {"usd": 5}}, "`budget.usd` needs `endpoint.prices`"),
        ({"endpoint": {**ENDPOINT, "concurrency": 0}}, "concurrency"),
        ({"endpoint": {**ENDPOINT, "cache": "answers.jsonl"}}, "cache"),
        ({"endpoint": {**ENDPOINT, "prices": {"inputPerMillion": -1}}}, "inputPerMillion"),
        ({"methods": ["letters"]}, "methods[0]"),
        ({"questions": [{"path": "q", "role": "beside"}]}, "role"),
        ({"questions": [{"path": "q", "layout": "mmul"}]}, "layout"),
        ({"generation": {"reasoning": "maybe"}}, "reasoning"),
        ({"shuffles": 101}, "shuffles"),
    ],
)
def test_what_cannot_be_is_named(bench: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError) as caught:
        stage(**bench)
    assert says in caught.value.message
    assert "spec.stages[0].bench" in caught.value.message


def test_how_far_and_how_fast_a_service_is_asked_changes_no_result() -> None:
    plain = stage(endpoint=ENDPOINT).identity()
    fast = {**ENDPOINT, "concurrency": 99, "cache": "/tmp/answers.jsonl"}
    assert stage(endpoint=fast, budget={"tokens": 9}).identity() == plain
    priced = stage(endpoint={**ENDPOINT, "prices": PRICES}).identity()
    assert priced != plain  # its cost is a result


def test_budgets_and_prices_may_change_under_a_run_that_goes_on() -> None:
    old = job(endpoint=ENDPOINT)["spec"]
    new = job(endpoint={**ENDPOINT, "prices": PRICES, "concurrency": 2}, budget={"usd": 5}, seed=0)[
        "spec"
    ]
    found = [c for c in differences(old, new, "spec") if not c.field.endswith("seed")]
    assert len(found) == 4
    assert all(change.is_around for change in found)
    other = differences(old, job(endpoint={**ENDPOINT, "model": "n"})["spec"], "spec")
    assert not any(change.is_around for change in other)


def test_the_file_of_examples_is_relative_to_the_run_file(tmp_path: Path) -> None:
    found = with_absolute_paths(parse(job(shots=2, shotsFrom="dev.jsonl")), tmp_path)
    bench = found.stage("score").bench
    assert bench is not None
    assert bench.shots_from == str(tmp_path / "dev.jsonl")
