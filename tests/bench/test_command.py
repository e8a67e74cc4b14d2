"""What ``astroctl bench`` makes of its options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from astroctl.cli.closing import scores
from astroctl.cli.commands import bench
from astrosage.spec.bench import BenchSpec
from astrosage.spec.load import parse


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASTROCTL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(*arguments: str) -> Any:
    """The job that a command line means."""
    found: dict[str, Any] = {}

    @click.command(params=bench.command.params)
    def read(**options: Any) -> None:
        found.update(bench._job(options))

    result = CliRunner().invoke(read, [*arguments], standalone_mode=False)
    if result.exception:
        raise result.exception
    return parse(found)


def spec(*arguments: str) -> BenchSpec:
    body = made(*arguments).stage("score").bench
    assert isinstance(body, BenchSpec)
    return body


def test_protocol_of_a_model(home: Path) -> None:
    body = spec(
        "smollm2-135m", "--questions", "a.csv", "--outside", "b.csv", "--layout", "mmlu",
        "--method", "letter", "--shots", "5", "--shots-from", "dev.csv", "--shuffles", "3",
        "--reasoning", "on", "--max-new-tokens", "512", "--limit", "7",
    )  # fmt: skip
    assert [(q.path, q.role, q.layout, q.limit) for q in body.questions] == [
        ("a.csv", "inside", "mmlu", 7),
        ("b.csv", "outside", "mmlu", 7),
    ]
    assert body.methods == ["letter"]
    assert (body.shots, body.shots_from, body.shuffles) == (5, "dev.csv", 3)
    assert (body.generation.reasoning, body.generation.max_new_tokens) == ("on", 512)
    assert body.budget is None


def test_an_endpoint_with_prices_and_a_budget(home: Path) -> None:
    body = spec(
        "--url", "http://h/v1", "--model", "m", "--questions", "q.jsonl", "--concurrency", "32",
        "--prices", "0.5", "1.5", "--budget-usd", "2", "--budget-tokens", "1000",
    )  # fmt: skip
    assert body.endpoint is not None
    assert body.endpoint.prices is not None
    assert (body.endpoint.concurrency, body.endpoint.prices.output_per_million) == (32, 1.5)
    assert body.budget is not None
    assert (body.budget.usd, body.budget.tokens) == (2.0, 1000)


def test_the_price_of_one_s_own_workers(home: Path) -> None:
    job = made("smollm2-135m", "--questions", "q.jsonl", "--price-per-hour", "1.5")
    assert job.spec.cluster.price_per_hour == 1.5


def score(correct: int) -> dict[str, Any]:
    return {"accuracy": correct / 10, "low": 0.1, "high": 0.9}


def test_the_closing_text_tells_gains_losses_and_cost() -> None:
    paired = {"better": 4, "worse": 1, "p": 0.0376, "pHolm": 0.0752}
    result = {"model": score(7), "baseline": score(4), "paired": paired}
    side = {"difference": 0.155, "low": 0.11, "high": 0.199}
    ratio = {"value": 1.021, "low": 1.01, "high": 1.032}
    summary = {
        "sets": [
            {"name": n, "questions": 10, "methods": {"letter": result}} for n in ("quiz", "mmlu")
        ],
        "specialising": {
            "inside": {"accuracy": {"letter": side}, "heldout": None},
            "outside": {
                "accuracy": {"letter": {"difference": -0.008, "low": -0.03, "high": 0.014}},
                "heldout": {"perplexityRatio": ratio},
            },
        },
        "cost": {"usdPer100kTokens": 0.0123, "model": {"usd": 0.5}},
    }
    text = scores(summary)
    for said in (
        "p (Holm)",
        "0.0376 (0.0752)",
        "likelihood of the letter",
        "gain inside",
        "loss outside",
        "+15.5 [+11.0, +19.9]",
        "-0.8 [-3.0, +1.4]",
        "1.021 [1.010, 1.032]",
        "cost: $0.5 for the questions, $0.0123 for 0.1 M tokens",
    ):
        assert said in text, said


def test_the_closing_text_never_tells_an_accuracy_without_keys() -> None:
    summary = {
        "sets": [{"name": "open", "questions": 3, "methods": {}}],
        "predictions": {"sets": ["open"], "answers": 3, "file": "predictions.jsonl"},
        "service": {"changed": True, "failed": 2},
    }
    text = scores(summary)
    assert "open: not scored, since the file has no keys; 3 answers" in text
    assert "bench/predictions.jsonl" in text
    assert "2 requests got no answer and count as wrong" in text
    assert "%" not in text
