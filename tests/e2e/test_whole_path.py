"""From a base model to a scored, served model with the CLI alone, as a user would."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml

from tests.e2e.runs import write_texts

pytestmark = pytest.mark.e2e
ASTROCTL = Path(sys.executable).parent / "astroctl"


class Cli:
    """``astroctl`` with a home, and so a cluster, of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = dict(os.environ, ASTROCTL_HOME=str(folder / "home"))

    def run(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [str(ASTROCTL), *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == code, (
            f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done.stdout if code == 0 else done.stderr

    def data(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "-o", "json"))


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Cli]:
    folder = tmp_path_factory.mktemp("whole")
    write_run_file(folder, tiny_model)
    found = Cli(folder)
    yield found
    found.run("down")


def write_run_file(folder: Path, model: Path) -> None:
    write_texts(folder / "texts", 24)
    chats = [
        {
            "messages": [
                {"role": "user", "content": f"What is number {n}?"},
                {"role": "assistant", "content": f"It is {n} stars."},
            ]
        }
        for n in range(24)
    ]
    (folder / "chat.jsonl").write_text("".join(json.dumps(c) + "\n" for c in chats))
    quiz = [
        {
            "id": f"q{n}",
            "question": f"How many rings has the made-up planet called Zorb {n}?",
            "choices": [f"{n + k} rings" for k in range(4)],
            "answer": "ABCD"[n % 4],
            "topic": "even" if n % 2 == 0 else "odd",
        }
        for n in range(12)
    ]
    (folder / "quiz.jsonl").write_text("".join(json.dumps(q) + "\n" for q in quiz))
    train = {"maxSteps": 6, "learningRate": 1e-3, "globalBatchSize": 4}
    stages = [
        {
            "name": "corpus",
            "prepare": {"sources": [{"path": "texts/*.txt"}], "pack": {"sequenceLength": 128}},
        },
        {
            "name": "chat",
            "prepare": {
                "format": "chat",
                "sources": [{"path": "chat.jsonl"}],
                "pack": {"sequenceLength": 128},
            },
        },
        {"name": "cpt", "train": {"objective": "cpt", "data": "corpus", **train}},
        {"name": "sft", "train": {"objective": "sft", "model": "cpt", "data": "chat", **train}},
        {
            "name": "score",
            "bench": {
                "model": "sft",
                "baseline": str(model),
                "questions": [{"path": "quiz.jsonl"}],
                "heldout": [{"path": "texts/00.txt"}],
            },
        },
    ]
    job = {
        "apiVersion": "astrosage.io/v1alpha1",
        "kind": "AstroJob",
        "metadata": {"name": "whole"},
        "spec": {
            "model": str(model),
            "storage": "./runs",
            "stages": stages,
            "cluster": {"workers": 2, "resourcesPerWorker": {"cpu": 1}, "pricePerHour": 3.6},
        },
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(job, sort_keys=False))


def test_whole_path(cli: Cli) -> None:
    dry = cli.data("submit", "train", "-f", "job.yaml", "--dry-run")
    assert [s["name"] for s in dry["stages"]] == ["corpus", "chat", "cpt", "sft", "score"]
    assert not (cli.folder / "runs").exists()

    shown = cli.run("submit", "train", "-f", "job.yaml", "--follow")
    for text in ("baseline", "model", "likelihood", "generated answer", "perplexity", "next:"):
        assert text in shown
    run = cli.folder / "runs/default/whole"
    report = (run / "stages/score/bench/report.html").read_text()
    assert "<script" not in report
    assert "Zorb" in report or "quiz" in report

    state = cli.data("status", "whole")
    assert state["phase"] == "succeeded"
    assert [s["phase"] for s in state["progress"]["stages"]] == ["finished"] * 5
    assert state["progress"]["costUSD"] > 0
    lineage = json.loads((run / "lineage.json").read_text())
    assert [a["stage"] for a in lineage["artefacts"]] == ["corpus", "chat", "cpt", "sft", "score"]
    assert all(i["digest"] for a in lineage["artefacts"] for i in a["inputs"])


def test_a_second_submit_is_a_conflict_and_resume_has_nothing_to_do(cli: Cli) -> None:
    refused = cli.run("submit", "train", "-f", "job.yaml", code=4)
    assert "exists already" in refused
    assert "astroctl resume whole" in refused
    assert cli.data("resume", "whole")["started"] is False


def test_only_what_changed_is_run_again(cli: Cli) -> None:
    summary = cli.folder / "runs/default/whole/stages/score/bench/summary.json"
    before = json.loads(summary.read_text())
    (summary.parent / "manifest.json").unlink()
    cli.run("resume", "whole", "--follow")
    phases = {s["name"]: s["phase"] for s in cli.data("status", "whole")["progress"]["stages"]}
    assert phases == {
        **dict.fromkeys(("corpus", "chat", "cpt", "sft"), "skipped"),
        "score": "finished",
    }
    after = json.loads(summary.read_text())
    assert after["sets"] == before["sets"]


def test_served_asked_and_scored_over_http(cli: Cli) -> None:
    port = free_port()
    served = cli.data("serve", "whole", "--port", str(port))
    key = Path(served["keyFile"]).read_text().strip()
    client = openai.OpenAI(base_url=served["url"], api_key=key)
    assert [m.id for m in client.models.list()] == ["whole"]
    answer = client.chat.completions.create(
        model="whole", messages=[{"role": "user", "content": "Hello"}], max_tokens=5, temperature=0
    )
    assert answer.usage is not None
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=served["url"], api_key="wrong", max_retries=0).models.list()
    assert isinstance(cli.run("ask", "What is a star?", "--max-tokens", "5"), str)
    cli.environment["WHOLE_KEY"] = key
    cli.run(
        *("bench", "--url", served["url"], "--model", "whole", "--api-key-env", "WHOLE_KEY"),
        *("--questions", "quiz.jsonl", "--limit", "4", "--name", "over-http"),
    )
    summary = cli.folder / "runs/default/over-http/stages"
    (found,) = summary.glob("*/bench/summary.json")
    methods = json.loads(found.read_text())["sets"][0]["methods"]
    assert methods["generation"]["model"]["total"] == 4
    assert key not in "".join(p.read_text(errors="replace") for p in texts_below(cli.folder))


def test_everything_is_still_there_when_the_cluster_is_gone(cli: Cli) -> None:
    cli.run("down")
    assert cli.data("status", "whole")["phase"] == "succeeded"
    assert "stage cpt" in cli.run("logs", "whole", "--stage", "cpt")
    assert "whole" in cli.run("list")
    assert "report.html" in cli.run("report", "whole")
    cli.run("delete", "whole", "--yes")
    assert not (cli.folder / "runs/default/whole").exists()
    assert "no run" in cli.run("status", "whole", code=3)


def texts_below(folder: Path) -> list[Path]:
    """Logs, run directories and reports: where no key may be."""
    return [
        p
        for p in (folder / "runs").rglob("*")
        if p.is_file() and p.suffix in (".json", ".jsonl", ".log", ".yaml", ".html")
    ]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
