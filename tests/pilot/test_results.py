"""What a pilot has found, from run directories as its stages leave them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from astroctl.cli.pilot_view import text
from astrosage.bench.statistics import wilson
from astrosage.pilot import results
from astrosage.pilot.expand import expand
from astrosage.report.build import build_report
from astrosage.report.facts import gather
from astrosage.runs import manifest
from astrosage.runs.directory import RunDirectory
from astrosage.runs.metrics import MetricsWriter
from astrosage.spec.job import AstroJob
from astrosage.spec.load import parse
from tests.report.test_build import check

FRACTIONS = (0.01, 0.1, 1.0)
TOKENS = {0.01: 10_000, 0.1: 100_000, 1.0: 1_000_000}
LOSSES = {0.01: 3.2, 0.1: 3.0, 1.0: 2.9}
RIGHT = {0.01: 110, 0.1: 130, 1.0: 150}
QUESTIONS, BASE = 400, 100


def recipe(storage: Path) -> AstroJob:
    return parse(
        {
            "metadata": {"name": "mini"},
            "spec": {
                "model": "smollm2-135m",
                "storage": str(storage),
                "cluster": {"pricePerHour": 2.0},
                "stages": [
                    {"name": "corpus", "prepare": {"sources": [{"path": "/c/*.md"}]}},
                    {"name": "cpt", "train": {"objective": "cpt", "data": "corpus"}},
                    {
                        "name": "score",
                        "bench": {
                            "model": "cpt",
                            "baseline": "smollm2-135m",
                            "questions": [{"path": "/c/quiz.jsonl", "name": "quiz"}],
                        },
                    },
                ],
            },
        }
    )


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    job = expand(recipe(tmp_path), FRACTIONS)
    found = RunDirectory.of(job)
    found.create(job)
    return found


def finish(run: RunDirectory, fraction: float, suffix: str) -> None:
    """Leave what the stages of one part leave."""
    with run.stage(f"corpus{suffix}").storage.writing("shards") as folder:
        manifest.write(folder, key="k", splits={"train": {"tokens": TOKENS[fraction]}})
    writer = MetricsWriter(run.stage(f"cpt{suffix}").storage)
    writer.log(0, 5, "steps", validationLoss=3.5)
    writer.log(5, 5, "steps", tokens=2 * TOKENS[fraction], validationLoss=LOSSES[fraction])
    writer.close()
    with run.stage(f"cpt{suffix}").storage.writing("model") as folder:
        manifest.write(folder, key="k")
    score(run, f"score{suffix}", RIGHT[fraction], baseline=fraction == FRACTIONS[-1])
    names = [f"{n}{suffix}" for n in ("corpus", "cpt", "score")]
    lineage = run.lineage()
    lineage["artefacts"] = (lineage.get("artefacts") or []) + [
        {"stage": name, "seconds": 3600.0 * fraction * 0.5 + (0 if name[0] == "s" else 36)}
        for name in names
    ]
    run.storage.write_json("lineage.json", lineage)


def score(run: RunDirectory, stage: str, right: int, *, baseline: bool) -> None:
    records = []
    for i in range(QUESTIONS):
        record: dict[str, Any] = {"set": "quiz", "method": "likelihood", "id": str(i)}
        record["model"] = {"correct": i < right}
        if baseline:
            record["baseline"] = {"correct": i < BASE}
        records.append(record)

    def of(correct: int) -> dict[str, Any]:
        low, high = wilson(correct, QUESTIONS)
        share = correct / QUESTIONS
        facts = {"accuracy": share, "low": low, "high": high}
        return facts | {"correct": correct, "total": QUESTIONS}

    method = {
        "model": of(right),
        "baseline": of(BASE) if baseline else None,
        "paired": None,
        "topics": [],
        "years": [],
    }
    sets = [
        {
            "name": "quiz",
            "questions": QUESTIONS,
            "headline": "likelihood",
            "methods": {"likelihood": method},
            "topics": [],
            "years": [],
        }
    ]
    with run.stage(stage).storage.writing("bench") as folder:
        lines = "".join(json.dumps(r) + "\n" for r in records)
        (folder / "records.jsonl").write_text(lines)
        (folder / "summary.json").write_text(json.dumps({"model": "cpt", "sets": sets}))
        manifest.write(folder, key="k")


def test_nothing_is_found_before_anything_is_prepared(run: RunDirectory) -> None:
    assert results.find(gather(run, {})) is None


def test_a_run_that_is_no_pilot_has_none(tmp_path: Path) -> None:
    job = recipe(tmp_path)
    plain = RunDirectory.of(job)
    plain.create(job)
    assert results.find(gather(plain, {})) is None
    assert "What 10 times" not in build_report(plain)


def test_points_curves_and_prediction(run: RunDirectory) -> None:
    for fraction, suffix in zip(FRACTIONS, ("-1pct", "-10pct", ""), strict=True):
        finish(run, fraction, suffix)
    found = results.find(gather(run, {}))
    assert found is not None
    assert [p.tokens for p in found.parts] == [10_000, 100_000, 1_000_000]
    assert [p.learnt for p in found.parts] == [20_000, 200_000, 2_000_000]
    # Two stages of half an hour each for the whole corpus, and 36 s to begin with; scoring aside.
    assert [p.hours for p in found.parts] == pytest.approx([0.03, 0.12, 1.02])
    assert [p.usd for p in found.parts] == pytest.approx([0.06, 0.24, 2.04])
    assert found.ahead == 10_000_000
    assert found.hours == pytest.approx(10.02)
    assert found.usd == pytest.approx(20.04)
    assert [p.loss["cpt"] for p in found.parts] == [3.2, 3.0, 2.9]
    curve = found.losses[0].curve
    assert curve is not None
    assert curve.floor < curve.ahead.value < 2.9
    (scores,) = found.scores
    assert scores.better == [10, 30, 50]
    assert scores.worse == [0, 0, 0]
    assert scores.line is not None
    assert scores.line.per_tenfold.value == pytest.approx(0.05)
    assert scores.line.ahead.value == pytest.approx(0.425)
    assert json.loads(json.dumps(found.to_dict()))["accuracy"][0]["points"][2]["p"] < 1e-9


def test_it_can_be_asked_for_while_it_runs(run: RunDirectory) -> None:
    finish(run, 0.01, "-1pct")
    found = results.find(gather(run, {}))
    assert found is not None
    assert [p.fraction for p in found.parts] == [0.01]
    assert found.scores[0].line is None
    assert found.losses[0].curve is None
    assert found.hours is None
    assert "0.01" in text(found)
    finish(run, 0.1, "-10pct")
    page = build_report(run)
    check(page)
    assert "2 are finished so far" in page
    assert "a third fraction would say" in page


def test_report_and_terminal_tell_the_same(run: RunDirectory) -> None:
    for fraction, suffix in zip(FRACTIONS, ("-1pct", "-10pct", ""), strict=True):
        finish(run, fraction, suffix)
    page = build_report(run)
    check(page)
    found = results.find(gather(run, {}))
    assert found is not None
    shown = text(found)
    assert "What 10 times the corpus would likely buy" in page
    for words in ("+5.0 points", "$20.04"):
        assert words in page
        assert words in shown
    assert "50/0" in shown


def test_the_command_shows_it(run: RunDirectory) -> None:
    from astroctl.cli.commands.pilot import command

    for fraction, suffix in zip(FRACTIONS, ("-1pct", "-10pct", ""), strict=True):
        finish(run, fraction, suffix)
    storage = str(Path(run.uri).parents[1])
    arguments = ["show", "mini-pilot", "--storage", storage, "-o", "json"]
    shown = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["ahead"]["corpusTokens"] == 10_000_000
