from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrosage.report import costs, protocol, service, specialising
from astrosage.report.build import build_report
from astrosage.report.published import ALL, SCORES, VALIDATED
from astrosage.report.scatter import Level, scatter_chart
from astrosage.report.tradeoff import Scored, frontier, slope
from astrosage.runs import manifest
from astrosage.runs.directory import RunDirectory
from astrosage.spec.load import parse
from tests.report.test_build import bench, check
from tests.report.test_whole_run import words


def model(usd: float, accuracy: float, name: str = "m") -> Scored:
    return Scored(name, "model", usd, accuracy, accuracy - 0.02, min(1.0, accuracy + 0.02))


models = st.lists(
    st.builds(model, st.floats(1e-6, 1e3), st.floats(0.02, 0.98)), min_size=1, max_size=12
)


@given(models)
def test_nobody_beats_the_frontier(found: list[Scored]) -> None:
    best = frontier(found)
    assert best
    for one in best:
        assert not any(
            o.usd <= one.usd and o.accuracy >= one.accuracy
            and (o.usd < one.usd or o.accuracy > one.accuracy)
            for o in found
        )  # fmt: skip
    for other in found:
        assert any(b.usd <= other.usd and b.accuracy >= other.accuracy for b in best)
    assert [m.usd for m in best] == sorted(m.usd for m in best)


def test_slope_in_points_for_ten_times_the_cost() -> None:
    line = [model(10.0**k, 0.5 + 0.035 * k) for k in range(-3, 4)]
    assert slope(line) == pytest.approx(3.5)
    assert slope([model(1, 0.5), model(1, 0.6)]) is None
    assert slope([model(1, 0.5)]) is None


@settings(deadline=None)
@given(models, st.lists(st.builds(Level, st.just("x"), st.floats(0, 1)), max_size=4))
def test_every_point_lies_within_the_chart(found: list[Scored], levels: list[Level]) -> None:
    chart = scatter_chart("c", "Cost", "words", found, frontier(found), levels, 0.035)
    check(str(chart))
    assert "nan" not in chart
    assert "inf" not in chart


def test_published_scores_have_sources_and_one_of_two_sets() -> None:
    assert {p.questions for p in SCORES} == {ALL, VALIDATED}
    for found in SCORES:
        assert found.source
        assert 25 < found.accuracy < 100
        assert found.usd_per_100k_tokens is None or math.isfinite(found.usd_per_100k_tokens)
    assert len({(p.name, p.questions) for p in SCORES}) == len(SCORES)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    job = parse(
        {
            "metadata": {"name": "mini"},
            "spec": {
                "model": "smollm2-135m",
                "storage": str(tmp_path),
                "stages": [
                    {
                        "name": "score",
                        "bench": {"model": "smollm2-135m", "questions": [{"path": "/q"}]},
                    }
                ],
            },
        }
    )
    found = RunDirectory.of(job)
    found.create(job)
    return found


def page(run: RunDirectory, **more: Any) -> str:
    import json

    summary = bench(30, 20)
    summary["sets"][0]["headline"] = "likelihood"
    with run.stage("score").storage.writing("bench") as folder:
        (folder / "summary.json").write_text(json.dumps(summary | more))
        (folder / "records.jsonl").write_text("")
        manifest.write(folder, key="k")
    html = build_report(run)
    check(html)
    return html


def account(usd: float | None) -> dict[str, Any]:
    tokens = {"prompt": 5, "completion": 2, "reasoning": 1}
    return {"usd": 0.25, "usdPer100kTokens": usd, "tokens": tokens, "seconds": 1.0}


def test_the_picture_is_drawn_where_a_cost_is_known(run: RunDirectory) -> None:
    html = page(run, cost={"model": account(0.02), "baseline": account(0.005)})
    text = words(html)
    assert "Accuracy and cost, quiz" in text
    assert "baseline: smollm2-135m: 50.0 % at $0.0050 for 0.1 M tokens" in text
    assert "published scores on the 4,425 questions of AstroMLab-1, other questions than" in text
    assert "AstroSage-70B 89.0 3,846" in text
    assert "AstroSage-70B 86.2 4,425" in text
    assert "+41.5 points for ten times the cost" in text


@pytest.mark.parametrize(
    "cost", [{}, {"model": None}, {"model": account(None)}, {"model": account(0.0)}]
)
def test_without_a_cost_there_is_no_picture(run: RunDirectory, cost: dict[str, Any]) -> None:
    assert "Accuracy and cost" not in page(run, cost=cost)


def test_what_specialising_costs_is_told_only_with_an_outside() -> None:
    side = {"questions": 40, "model": 0.5, "baseline": 0.4, "difference": 0.1, "low": 0.01,
            "high": 0.19}  # fmt: skip
    inside = {"accuracy": {"letter": side}, "heldout": None}
    ratio = {"value": 1.05, "low": None, "high": None}
    texts = {"documents": 1, "model": {"perplexity": 21.0}, "baseline": {"perplexity": 20.0},
             "perplexityRatio": ratio}  # fmt: skip
    assert specialising.section({"specialising": {"inside": inside}}) == ""
    assert specialising.section({}) == ""
    outside = {"accuracy": {}, "heldout": texts}
    text = words(specialising.section({"specialising": {"inside": inside, "outside": outside}}))
    assert "Gain inside, likelihood of the letter 40 40.0 % 50.0 % +10.0 [+1.0, +19.0]" in text
    assert "Loss outside 1 20.00 21.00 1.050" in text


def test_what_a_service_did_is_told() -> None:
    assert service.section({}) == ""
    found = {
        "asked": 40, "reused": 3, "retries": 2, "failed": 1, "problems": {"<html>": 1},
        "empty": 4, "limited": 5, "cut": 2, "estimatedUsage": 6, "changed": True,
        "models": {"a": 20, "b": 20}, "fingerprints": {},
    }  # fmt: skip
    html = service.section({"service": found})
    assert "<html>" not in html
    text = words(html)
    for said in (
        "models a (20), b (20); fingerprints not told",
        "1 requests got no answer and count as wrong",
        "4 answers were empty",
        "5 answers ended at generation.maxNewTokens, 2 of them within",
        "tokens of 6 answers are estimates",
        "2 requests were sent again",
    ):
        assert said in text, said


def test_many_years_are_folded_away() -> None:
    score = {"accuracy": 0.5, "low": 0.4, "high": 0.6}
    years = [{"year": 1990 + i, "questions": 3, "model": score} for i in range(20)]
    item = {"name": "quiz", "headline": "letter", "years": years}
    assert "<details>" in protocol.section(item)
    assert "<details>" not in protocol.section({**item, "years": years[:5]})
    assert protocol.section({"name": "quiz"}) == ""


def test_levels_are_far_enough_apart_to_be_read() -> None:
    found = costs._levels()
    gaps = [a.accuracy - b.accuracy for a, b in pairwise(found)]
    assert min(gaps) >= 0.04
