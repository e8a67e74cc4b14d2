"""Promotion: the gate, what it reads, and the way back.

What serves is a stand-in that remembers; a real endpoint is in the end-to-end tests.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from astroctl.runs import registry
from astroctl.runs.registry import Record
from astroctl.serving import standing
from astroctl.serving.models import Model
from astroctl.serving.place import Wanted
from astroctl.serving.served import Served
from astroctl.targets.local import LocalTarget
from astrosage.runs import manifest
from astrosage.runs.directory import RunDirectory
from astrosage.spec.load import parse
from tests import tiny
from tests.astroctl.conftest import Astroctl


class FakePlace:
    """Keeps what is served."""

    def __init__(self) -> None:
        self.models: dict[str, tuple[str, Wanted]] = {}

    def deploy(self, model: Model, name: str, wanted: Wanted) -> Served:
        self.models[name] = (model.reference, wanted)
        return Served(name, model.reference, "http://127.0.0.1:1/v1", "", "local", "")

    def status(self) -> list[dict[str, Any]]:
        return [{"name": name} for name in self.models]

    def stop(self, name: str) -> None:
        del self.models[name]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, home: Path) -> FakePlace:
    made = FakePlace()
    monkeypatch.setattr(standing, "place_of", lambda target: made)
    monkeypatch.setattr("astroctl.serving.place.place_of", lambda target: made)
    return made


def paired(both: int, better: int, worse: int, neither: int) -> dict[str, Any]:
    total = both + better + worse + neither
    scored = {
        "model": {"correct": both + better, "total": total},
        "baseline": {"correct": both + worse, "total": total},
        "paired": {"better": better, "worse": worse, "p": 0.5},
    }
    return {"name": "quiz", "questions": total, "headline": "likelihood"} | {
        "methods": {"likelihood": scored}
    }


@pytest.fixture
def candidate(tmp_path: Path, home: Path) -> RunDirectory:
    """A run with a model, scored against a directory that is served."""
    base = tiny.make_model(tmp_path / "base")
    job = parse(
        {
            "metadata": {"name": "v2"},
            "spec": {
                "model": str(base),
                "storage": str(tmp_path / "runs"),
                "stages": [
                    {
                        "name": "merged",
                        "merge": {"models": [{"model": str(base)}, {"model": str(base)}]},
                    },
                    {
                        "name": "score",
                        "bench": {
                            "model": "merged",
                            "baseline": str(base),
                            "questions": [{"path": "/q.jsonl"}],
                            "gate": {"margin": 0.05},
                        },
                    },
                ],
            },
        }
    )
    run = RunDirectory.of(job)
    run.create(job)
    with run.stage("merged").storage.writing("model") as folder:
        tiny.make_model(folder, 1)
        manifest.write(folder, key="k")
    registry.put(Record("default", "v2", run.uri, stages=["merged", "score"]))
    return run


def scored(run: RunDirectory, *counts: int) -> None:
    with run.stage("score").storage.writing("bench") as folder:
        summary = {"model": "merged", "sets": [paired(*counts)]}
        (folder / "summary.json").write_text(json.dumps(summary))
        manifest.write(folder, key="k")


def serve(run: RunDirectory, name: str = "astro") -> str:
    base = run.job().spec.model
    limits = {"maxConcurrent": 3, "card": {"base": "old"}}
    standing.deploy(LocalTarget(), Model(base, name), name, Wanted(limits, cpus=2.0))
    return base


def test_a_model_that_is_no_worse_takes_over_with_the_same_options(
    candidate: RunDirectory, place: FakePlace, astroctl: Astroctl
) -> None:
    base = serve(candidate)
    scored(candidate, 500, 100, 60, 340)
    result = astroctl("promote", "v2", "-o", "json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    model, wanted = place.models["astro"]
    assert model == told["to"] == candidate.stage("merged").storage.path("model")
    assert told["from"] == base
    assert (wanted.limits["maxConcurrent"], wanted.cpus) == (3, 2.0)
    assert wanted.limits["card"]["base"] == base

    back = astroctl("promote", "--rollback", "--endpoint", "astro")
    assert back.exit_code == 0, back.stderr
    assert place.models["astro"][0] == base
    assert astroctl("promote", "--rollback").exit_code == 0  # and forth again
    assert place.models["astro"][0] == model


def test_a_worse_model_is_refused_unless_forced(
    candidate: RunDirectory, place: FakePlace, astroctl: Astroctl
) -> None:
    base = serve(candidate)
    scored(candidate, 500, 10, 200, 290)
    result = astroctl("promote", "v2")
    assert result.exit_code == 4
    assert "astro` stays with" in result.stderr
    assert "margin 5" in result.stderr
    assert "worse" in result.stderr
    assert place.models["astro"][0] == base
    assert astroctl("promote", "v2", "--force", "a test").exit_code == 0
    assert place.models["astro"][0] != base


def test_a_narrow_margin_wants_more_questions(
    candidate: RunDirectory, place: FakePlace, astroctl: Astroctl
) -> None:
    serve(candidate)
    scored(candidate, 20, 5, 5, 10)
    result = astroctl("promote", "v2", "--margin", 0.01)
    assert result.exit_code == 4
    assert "more questions narrow the interval" in result.stderr


def test_a_dry_run_changes_nothing(
    candidate: RunDirectory, place: FakePlace, astroctl: Astroctl
) -> None:
    base = serve(candidate)
    scored(candidate, 500, 100, 60, 340)
    result = astroctl("promote", "v2", "--dry-run")
    assert "would switch" in result.stdout
    assert place.models["astro"][0] == base


def test_what_is_missing_is_named(
    candidate: RunDirectory, place: FakePlace, astroctl: Astroctl
) -> None:
    result = astroctl("promote", "v2")
    assert result.exit_code == 3
    assert "nothing is served" in result.stderr
    serve(candidate)
    result = astroctl("promote", "v2")  # not scored yet
    assert result.exit_code == 3
    assert "no finished bench compares" in result.stderr
    assert "--questions FILE" in result.stderr
    result = astroctl("promote", "--rollback")
    assert "has served nothing but" in result.stderr
    serve(candidate, "other")
    result = astroctl("promote", "v2")
    assert "--endpoint astro or other" in result.stderr
    assert astroctl("promote").exit_code == 2
    assert astroctl("promote", "v2", "--rollback").exit_code == 2
