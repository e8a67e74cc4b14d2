"""A run with every kind of stage, with names that would break a page that does not escape."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from astrosage import lineage
from astrosage.bench.questions import Question
from astrosage.bench.results import NamedSet, judge
from astrosage.bench.summary import summarize_sets
from astrosage.errors import NotFoundError
from astrosage.report.build import build_report
from astrosage.runs import manifest
from astrosage.runs.directory import RunDirectory
from astrosage.runs.metrics import MetricsWriter
from astrosage.spec.load import parse
from tests.report.test_build import check

BAD = "<img src=x onerror=alert(1)>"
QUESTIONS = [
    Question(
        f"q{i}", f"Stem {i} {BAD}", ("yes", f"no {BAD}", "both"), i % 3, topic=f"topic {i % 2}"
    )
    for i in range(12)
]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    job = parse(
        {
            "metadata": {"name": "whole"},
            "spec": {
                "model": "smollm2-135m",
                "storage": str(tmp_path),
                "stages": [
                    {"name": "corpus", "prepare": {"sources": [{"path": "/t.md"}]}},
                    {"name": "cpt", "train": {"objective": "cpt", "data": "corpus"}},
                    {
                        "name": "score",
                        "bench": {
                            "endpoint": {"url": "http://user:secret@host:1/v1", "model": "m"},
                            "baseline": "smollm2-135m",
                            "questions": [{"path": "/q.jsonl"}],
                        },
                    },
                ],
                "cluster": {"workers": 2, "pricePerHour": 36},
            },
        }
    )
    found = RunDirectory.of(job)
    found.create(job)
    prepare(found)
    train(found)
    return found


def prepare(run: RunDirectory) -> None:
    with run.stage("corpus").storage.writing("shards") as folder:
        (folder / "data").write_text("x")
        manifest.write(
            folder,
            key="k",
            sequenceLength=512,
            splits={"train": {"documents": 60, "tokens": 25659, "sequences": 60}},
            report={
                "records": 70,
                "kept": 68,
                "duplicates": 2,
                "contaminationHits": 3,
                "contaminatedParagraphs": 4,
                "contaminatedWords": 120,
                "documentsWithContamination": 2,
                "shares": [{"path": f"/{BAD}/*.md", "role": "train", "license": BAD, "weight": 2}],
            },
        )
    inputs = [{"name": "sources", "kind": "file", "path": f"/t{i}.md", "digest": f"{i}" * 64,
               "license": "CC-BY-4.0"} for i in range(6)]  # fmt: skip
    record(run, "corpus", "prepare", inputs, peakMemoryBytes=218_120_192)


def train(run: RunDirectory) -> None:
    writer = MetricsWriter(run.stage("cpt").storage)
    writer.log(0, 50, "steps", validationLoss=3.25)
    for step in range(1, 51):
        writer.log(step, 50, "steps", loss=3 - step / 50, tokensPerSecond=300 + step, mfu=0.31,
                   tokens=step * 4096)  # fmt: skip
    writer.log(50, 50, "steps", validationLoss=2.125)
    with run.stage("cpt").storage.writing("model") as folder:
        (folder / "config.json").write_text("{}")
        manifest.write(folder, key="k")
    inputs = [{"name": "train.data", "kind": "stage", "stage": "corpus", "digest": "ab" * 32}]
    record(run, "cpt", "train", inputs, mfuPeak="measured bf16 matrix product", seed=7)


def record(run: RunDirectory, stage: str, kind: str, inputs: list[Any], **more: Any) -> None:
    facts = {"stage": stage, "kind": kind, "key": "c" * 64, "inputs": inputs, "digest": "d" * 64}
    facts |= {"startedAt": 1.8e9, "seconds": 100.0, "versions": {"torch": "2.13"}, "hardware": {}}
    lineage.record(run, facts | more)


def score(folder: Path) -> None:
    judged = []
    for i, q in enumerate(QUESTIONS):
        head = {"set": "quiz", "method": "generation", "id": q.id, "topic": q.topic}
        head |= {"question": q.question, "choices": list(q.choices), "answer": q.answer}
        right, wrong = "ABC"[q.answer], "ABC"[q.answer - 1]
        judged.append(
            head
            | {
                "model": judge(q, "generation", right if i != 5 else wrong),
                "baseline": judge(q, "generation", right if i in (0, 5) else wrong),
            }
        )
    sets = [NamedSet("quiz", "/q.jsonl", tuple(QUESTIONS))]
    summary = {
        "model": f"m at {BAD}",
        "baseline": "smollm2-135m",
        "sets": summarize_sets(sets, judged),
        "heldout": {"model": {"perplexity": 20.18, "tokens": 3281, "documents": 8}},
        "cost": {"seconds": 50.0},
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in judged))


def words(page: str) -> str:
    """What is to be read in the page."""
    text = re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", text.replace("\u202f", " "))


def test_everything_is_told(run: RunDirectory, tmp_path: Path) -> None:
    folder = tmp_path / "fresh"
    folder.mkdir()
    score(folder)
    page = build_report(run, fresh={"score": folder})
    check(page)
    text = words(page)
    for said in (
        "succeeded",
        "91.7 % [64.6, 98.5] on quiz (generated answer), against 16.7 % [4.7, 44.8]",
        "significantly better (p = 0.012)",
        "The model is right on 10 questions that the baseline gets wrong, and wrong on 1",
        "Perplexity 20.18",
        "3 questions were found in the data (13 words in a row shared with a question, or runs of "
        "8 that cover 50 % of it)",
        "Duplicates dropped 2",
        "Training loss 2.980 at step 1, 2.000 at step 50",
        "Validation loss 3.250 at step 0, 2.125 at step 50",
        "31.0 % of measured bf16 matrix product per worker",
        "Gained: 3 of 10",
        "Lost: 1 of 1",
        "6 files",
        "CC-BY-4.0",
        "218 MB",
        "4 min 10 s",
        "$36.00 an hour: $2.50",
        "seed 7",
        "torch 2.13",
        "astroctl submit train -f job.yaml",
    ):
        assert said in text, said


def test_nothing_dangerous_or_secret_is_passed_on(run: RunDirectory, tmp_path: Path) -> None:
    score(tmp_path)
    page = build_report(run, fresh={"score": tmp_path})
    assert "<img" not in page
    assert "secret" not in page
    assert "http://…@host:1/v1" in page


def test_ids_are_unique_and_links_lead_somewhere(run: RunDirectory, tmp_path: Path) -> None:
    score(tmp_path)
    page = build_report(run, fresh={"score": tmp_path})
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    for named in re.findall(r'aria-labelledby="([^"]+)"', page):
        assert set(named.split()) <= set(ids)


def test_a_run_without_bench_tells_the_rest(run: RunDirectory) -> None:
    text = words(build_report(run))
    assert "Validation loss" in text
    assert "McNemar test" not in text
    assert "not run" in text


def test_a_broken_summary_does_not_hide_the_rest(run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text("{half")
    (tmp_path / "records.jsonl").write_text("")
    assert "Validation loss" in words(build_report(run, fresh={"score": tmp_path}))


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no run in"):
        build_report(RunDirectory(tmp_path / "absent"))
