"""The data card of a real prepare stage that uses every step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from astrosage.context import StageContext
from astrosage.data.run import run
from astrosage.report import data_card
from astrosage.report.build import build_report
from astrosage.report.charts import collecting
from astrosage.runs import manifest
from astrosage.runs.directory import RunDirectory
from astrosage.spec.load import parse
from tests.report.test_build import check

STEM = "Why is the night sky so dark, as Olbers asked, when it has so many <stars>?"


def words(first: int, last: int) -> str:
    return " ".join(f"word{i}" for i in range(first, last))


def texts() -> Iterator[str]:
    for i in range(12):
        yield f"Copyright of the <b>authors</b>\n\n{words(100 * i, 100 * i + 70)} of the and."
    yield f"{words(0, 69)} changed"
    yield f"{words(5000, 5090)}\n\nOne asks: {STEM}"
    yield "Too short."


@pytest.fixture(scope="module")
def page(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path
) -> tuple[str, dict[str, Any], list[str]]:
    """The report, the stage's counts and the names of the figures."""
    folder = tmp_path_factory.mktemp("card")
    for name, lines in (
        ("a", texts()),
        ("b", (words(7000 + 80 * i, 7080 + 80 * i) for i in (0, 1))),
    ):
        (folder / f"{name}.jsonl").write_text(
            "".join(json.dumps({"text": t}) + "\n" for t in lines)
        )
    question = {"id": "olbers", "question": STEM, "choices": ["Light is late", "No"], "answer": "A"}
    (folder / "quiz.jsonl").write_text(json.dumps(question) + "\n")
    prepare = {
        "sources": [
            {"path": str(folder / "a.jsonl"), "license": "CC0-1.0"},
            {"path": str(folder / "b.jsonl"), "share": 0.25},
        ],
        "pack": {"sequenceLength": 64},
        "clean": {
            "boilerplate": {"enabled": True},
            "quality": {"gopher": {"enabled": True, "minStopWords": 0, "minWords": 5}},
        },
        "deduplicate": {"near": {"enabled": True}},
        "decontaminate": {"ngrams": [13, 8], "against": [str(folder / "quiz.jsonl")]},
    }
    job = parse(
        {
            "metadata": {"name": "card"},
            "spec": {
                "model": str(tiny_model),
                "storage": str(folder / "runs"),
                "stages": [{"name": "corpus", "prepare": prepare}],
            },
        }
    )
    directory = RunDirectory.of(job)
    directory.create(job)
    context = StageContext(job.to_yaml_dict(), "corpus", directory.storage.uri, key="k")
    run(context)
    with collecting() as figures:
        html = build_report(directory)
    made = manifest.verify(context.shards_path("corpus"))
    return html, made["report"], [f.name for f in figures]


def test_every_record_is_accounted_for(page: tuple[str, dict[str, Any], list[str]]) -> None:
    report = page[1]
    losses = ("filtered", "nearDuplicates", "contaminatedRecords", "notSampled")
    assert report["records"] == report["kept"] + sum(report[name] for name in losses)
    assert (report["filtered"], report["nearDuplicates"]) == (1, 1)
    assert report["contaminationHits"] == 1
    documents = [s["documents"] for s in report["card"]["steps"]]
    assert documents == [17, 17, 16, 15, 15, 15]


def test_the_mixture_is_met(page: tuple[str, dict[str, Any], list[str]]) -> None:
    first, second = page[1]["shares"]
    assert second["expectedShare"] == 0.25
    assert second["trainShare"] == pytest.approx(0.25, abs=0.1)
    assert first["epochs"] == 1.0


def test_the_card_shows_all_of_it(page: tuple[str, dict[str, Any], list[str]]) -> None:
    html, report, figures = page
    check(html)
    for shown in (
        "What is left after each step",
        "gopher.tooFewWords",
        "Copyright of the &lt;b&gt;authors&lt;/b&gt;",
        "(dropped: gopher.tooFewWords)",
        "1 clusters of near-duplicates with 2 records",
        "olbers",
        "Mixture",
        "CC0-1.0",
        "or runs of 8 that cover",
    ):
        assert shown in html, shown
    assert "lengths-corpus" in figures
    assert sum(n for _, n in report["card"]["lengths"]) == 15


def test_conversations_are_told_where_there_are_any() -> None:
    assert data_card.conversations({}) == ""
    told = data_card.conversations({"chat": {"answers": 3, "tracesDropped": 1200}})
    assert "Answers learnt" in told
    assert "1,200" in told
    assert "Answers cut off" not in told
