"""From articles to a benchmark and training data, both used by later stages of the same run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from astroctl.cli import closing
from astrosage.report.build import build_report
from astrosage.runs.directory import RunDirectory
from astrosage.spec import graph
from astrosage.spec.load import parse
from tests.endpoints.fake_service import Answer, Service, chat
from tests.generate import writing

pytestmark = pytest.mark.e2e


def job(folder: Path, url: str, model: Path) -> dict[str, Any]:
    for i in range(8):
        name = "withheld" if i % 2 else "taught"
        (folder / name).mkdir(exist_ok=True)
        (folder / name / f"{i}.md").write_text(writing.article(100 * i))
    prices = {"prices": {"inputPerMillion": 1, "outputPerMillion": 2}}
    asked = {"writer": {"url": url, "model": "writer", "apiKeyEnv": "WRITER_KEY", **prices},
             "grader": {"url": url, "model": "grader", **prices}}  # fmt: skip
    quiz = {
        "kind": "questions",
        "sources": [{"path": str(folder / "withheld/*.md")}],
        "passages": {"minWords": 20},
        **asked,
    }
    pairs = {
        "sources": [{"path": str(folder / "taught/*.md"), "license": "CC-BY-4.0"}],
        "passages": {"minWords": 20, "maxWords": 80},
        "reasoning": 0.5,
        "budget": {"usd": 1.0},
        **asked,
    }
    learn = {
        "format": "chat",
        "sources": [{"path": "qa"}],
        "chat": {"reasoning": {"switch": "flagged"}},
        "pack": {"sequenceLength": 256},
    }
    score = {"endpoint": {"url": url, "model": "pupil"}, "questions": [{"path": "quiz"}]}
    return {
        "metadata": {"name": "school"},
        "spec": {
            "model": str(model),
            "storage": str(folder / "runs"),
            "stages": [
                {"name": "data", "prepare": learn},
                {"name": "score", "bench": score},
                {"name": "qa", "generate": pairs},
                {"name": "quiz", "generate": quiz},
            ],
        },
    }


def answer(body: dict[str, Any]) -> Answer:
    return chat("A") if body["model"] == "pupil" else writing.answer(body)


def drive(run: RunDirectory, stages: str) -> None:
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "WRITER_KEY": "secret-key",
                   "RAY_OVERRIDE_RESOURCES": '{"CPU": 2}', "OMP_NUM_THREADS": "1"}  # fmt: skip
    environment.pop("RAY_ADDRESS", None)
    program = [sys.executable, "-m", "ray_jobs.pipeline", run.uri, "--stages", stages]
    done = subprocess.run(
        program, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]


def test_the_whole_path(tmp_path: Path, tiny_model: Path) -> None:
    service = Service()
    service.answer = answer
    try:
        found = parse(job(tmp_path, service.url, tiny_model))
        run = RunDirectory.of(found)
        run.create(found)
        names = ",".join(s.name for s in graph.order(found))
        assert names == "quiz,score,qa,data"
        drive(run, names)
        asked = len(service.requests)
        drive(run, names)
        assert len(service.requests) == asked, "all stages are finished"
    finally:
        service.close()
    stages = Path(run.uri) / "stages"
    quiz = (stages / "quiz/generated/questions.jsonl").read_text().splitlines()
    assert len(quiz) == 20
    summary = json.loads((stages / "score/bench/summary.json").read_text())
    assert summary["sets"][0]["name"] == "quiz"
    assert summary["sets"][0]["methods"]["generation"]["model"]["accuracy"] == 0.25
    shards = json.loads((stages / "data/shards/report.json").read_text())
    pairs = len((stages / "qa/generated/chat.jsonl").read_text().splitlines())
    # Some are too long for the small model.
    assert shards["records"] == shards["kept"] + shards["overLongDropped"] == pairs
    assert shards["questions"][0]["questions"] == 20
    assert shards["licenses"] == {"CC-BY-4.0": {"records": pairs, "refused": 0}}
    entries = {a["stage"]: a for a in run.lineage()["artefacts"]}
    inputs = entries["data"]["inputs"]
    made = {(i["name"], i["stage"]) for i in inputs if i["kind"] == "stage"}
    assert made == {("prepare.sources[0].path", "qa"), ("prepare.decontaminate", "quiz")}
    assert entries["quiz"]["inputs"][0]["path"].endswith("withheld/1.md")
    report = build_report(run)
    assert "Generated data" in report
    assert re.search(r"20 questions of 20", report)
    assert "secret-key" not in report
    told = list(closing._generated(run))
    assert told[1].startswith("quiz: 20 questions of 20 that were written from 4 passages; ")
    assert told[1].endswith("stages/quiz/generated/questions.jsonl")
    for file in Path(run.uri).rglob("*"):
        assert not file.is_file() or b"secret-key" not in file.read_bytes()
