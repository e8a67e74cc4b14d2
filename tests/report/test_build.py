"""The report must say what is there, and be a whole page, whatever state the run is in."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from astrosage.report.build import build_report
from astrosage.runs import manifest
from astrosage.runs.directory import RunDirectory
from astrosage.runs.metrics import MetricsWriter
from astrosage.spec.load import parse

VOID = {"meta", "link", "br", "hr", "img", "input", "line", "rect", "circle", "path", "polyline"}


class Page(HTMLParser):
    """Checks that tags are balanced and collects what would load something from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "iframe", "object", "embed"):
            self.outside.append(tag)
        self.outside += [str(v) for k, v in attrs if k == "src" and not str(v).startswith("data:")]
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.stack.pop() == tag


def check(html: str) -> None:
    page = Page()
    page.feed(html)
    assert page.stack == []
    assert page.outside == []
    assert "url(http" not in html


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    job = parse(
        {
            "metadata": {"name": "mini"},
            "spec": {
                "model": "smollm2-135m",
                "storage": str(tmp_path),
                "stages": [
                    {"name": "corpus", "prepare": {"sources": [{"path": "/<b>t.md"}]}},
                    {"name": "cpt", "train": {"objective": "cpt", "data": "corpus"}},
                    {"name": "score", "bench": {"model": "cpt", "questions": [{"path": "/q"}]}},
                ],
            },
        }
    )
    found = RunDirectory.of(job)
    found.create(job)
    return found


def test_a_run_that_has_not_begun(run: RunDirectory) -> None:
    html = build_report(run)
    check(html)
    assert "mini" in html


def test_a_run_under_way_shows_its_curves(run: RunDirectory) -> None:
    writer = MetricsWriter(run.stage("cpt").storage)
    for step in range(1, 6):
        writer.log(step, 10, "steps", loss=3 / step, tokensPerSecond=100 + step, tokens=step)
    writer.log(5, 10, "steps", validationLoss=2.5)
    stages = [{"name": "cpt", "kind": "train", "phase": "running", "seconds": None}]
    run.write_progress({"phase": "running", "stage": "cpt", "stages": stages, "error": None})
    html = build_report(run)
    check(html)
    assert "<svg" in html
    assert "5 of 10" in html


def test_training_is_told_by_source_and_by_phase_of_the_step(run: RunDirectory) -> None:
    writer = MetricsWriter(run.stage("cpt").storage)
    for step in (1, 2):
        seconds = {"data": 0.5, "forward": 1.0, "backward": 2.0, "optimizer": 0.5}
        writer.log(step, 2, "steps", loss=3.0, gradientNorm=0.5, seconds=seconds)
        losses = (
            {"papers/*.md": 2.0, "b<i>": 3.0} if step == 1 else {"papers/*.md": 1.0, "b<i>": 2.0}
        )
        writer.log(
            step, 2, "steps", validationLoss=sum(losses.values()) / 2, validationLosses=losses
        )
    html = build_report(run)
    check(html)
    assert "Validation loss by source, cpt" in html
    assert "papers/*.md" in html
    assert "b&lt;i&gt;" in html
    assert "7.389" in html  # e ** 2
    assert "2.718" in html  # e ** 1
    assert "backward 50" in html
    assert "Gradient norm, cpt" in html


def test_one_source_needs_no_chart_of_its_own(run: RunDirectory) -> None:
    writer = MetricsWriter(run.stage("cpt").storage)
    writer.log(1, 2, "steps", validationLoss=500.0, validationLosses={"a": 500.0})
    html = build_report(run)
    check(html)
    assert "by source" not in html
    assert "over a million" in html


def test_a_failed_run_tells_its_error_and_escapes_it(run: RunDirectory) -> None:
    error = {"type": "DataError", "message": "<script>alert(1)</script>", "hint": "a & b"}
    run.write_progress({"phase": "failed", "stages": [], "stage": None, "error": error})
    html = build_report(run)
    check(html)
    assert "&lt;script&gt;" in html


def bench(correct: int, base: int) -> dict[str, Any]:
    def one(n: int) -> dict[str, Any]:
        return {
            "correct": n,
            "total": 40,
            "accuracy": n / 40,
            "low": max(0, n / 40 - 0.1),
            "high": min(1, n / 40 + 0.1),
            "unparsable": 0,
            "refused": 0,
        }

    paired = {"better": correct - base, "worse": 0, "p": 0.01}
    methods = {"likelihood": {"model": one(correct), "baseline": one(base), "paired": paired}}
    return {
        "model": "cpt",
        "baseline": "smollm2-135m",
        "sets": [{"name": "quiz", "path": "/q", "questions": 40, "methods": methods, "topics": []}],
        "heldout": None,
        "cost": {"seconds": 5.0, "workers": 2, "pricePerHour": None, "usd": None},
        "hardware": {},
    }


def test_scores_come_with_interval_and_test(run: RunDirectory) -> None:
    import json

    with run.stage("score").storage.writing("bench") as folder:
        (folder / "summary.json").write_text(json.dumps(bench(30, 20)))
        (folder / "records.jsonl").write_text("")
        manifest.write(folder, key="k")
    html = build_report(run)
    check(html)
    for text in ("30 of 40", "20 of 40", "McNemar", "quiz"):
        assert text in html
