"""From ``helm install`` to ``helm uninstall``, with everything that may happen in between.

The tests build on each other, in the order of this file.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from astroctl.kube.resources import ASTROJOB, POD, POOL, RAYCLUSTER, RAYJOB, RAYSERVICE, Resource
from tests import tiny
from tests.cluster.place import Place

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]
WORDS = ("star", "planet", "galaxy", "orbit", "light", "mass", "dust", "gas", "wave", "core")
SERVED = "tiny-served"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, a few texts and questions, on this machine: ``submit`` brings them along."""
    folder = tmp_path_factory.mktemp("files")
    tiny.make_model(folder / "model")
    (folder / "texts").mkdir()
    for n in range(40):
        words = " ".join(WORDS[(n * 7 + i * i + 3 * i) % len(WORDS)] for i in range(60 + n))
        (folder / "texts" / f"{n:02d}.txt").write_text(f"Document {n}. {words}\n")
    questions = [
        {"id": f"q{n}", "question": f"What is {w}?", "choices": list(WORDS[:4]), "answer": "A"}
        for n, w in enumerate(WORDS)
    ]
    (folder / "quiz.jsonl").write_text("".join(f"{json.dumps(q)}\n" for q in questions))
    return folder


def run_file(files: Path, name: str, storage: str, steps: int, *, score: bool = False) -> Path:
    stages: list[dict[str, Any]] = [
        {
            "name": "corpus",
            "prepare": {
                "sources": [{"path": str(files / "texts" / "*.txt")}],
                "validation": {"fraction": 0.1},
                "decontaminate": {"enabled": False},
                "pack": {"sequenceLength": 128},
            },
        },
        {
            "name": "cpt",
            "train": {
                "objective": "cpt",
                "data": "corpus",
                "maxSteps": steps,
                "learningRate": 1e-3,
                "globalBatchSize": 4,
                "checkpoint": {"everySteps": 10, "keep": 2},
            },
        },
    ]
    if score:
        questions = [{"path": str(files / "quiz.jsonl")}]
        stages.append({"name": "score", "bench": {"model": "cpt", "questions": questions}})
    kubernetes = {"head": {"cpu": 1, "memory": "3Gi"}, "terminationGraceSeconds": 60}
    cluster = {
        "workers": 2,
        "resourcesPerWorker": {"cpu": 1, "memory": "3Gi"},
        "kubernetes": kubernetes,
    }
    spec = {
        "model": str(files / "model"),
        "storage": storage,
        "stages": stages,
        "cluster": cluster,
        "retry": {"maxFailures": 3, "backoffSeconds": 5},
    }
    path = files / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"metadata": {"name": name}, "spec": spec}))
    return path


def submit(place: Place, files: Path, name: str, steps: int, *, score: bool = False) -> None:
    path = run_file(files, name, place.storage, steps, score=score)
    place.astroctl("submit", "train", "-f", path)


def test_the_installation_is_sound(place: Place) -> None:
    said = json.loads(place.astroctl("doctor", "-o", "json"))
    checks = said["checks"] if isinstance(said, dict) else said
    assert not [c for c in checks if c["state"] == "fail"], checks


def test_a_job_runs_to_success_and_is_scored(place: Place, files: Path) -> None:
    submit(place, files, "tiny", 20, score=True)
    status = place.wait_phase("tiny", "succeeded")
    assert [s["phase"] for s in status["progress"]["stages"]] == ["finished"] * 3
    report = place.astroctl("report", "tiny", target=False)
    assert "score" in report
    assert place.astroctl("logs", "tiny")


def test_a_job_outlives_a_worker_pod(place: Place, files: Path) -> None:
    submit(place, files, "bereft", 400)
    place.wait_step("bereft", 30)
    lost = place.pods("bereft")[0]["metadata"]["name"]
    place.kube.delete(POD, lost, place.namespace)
    status = place.wait_phase("bereft", "succeeded")
    assert status["progress"]["step"] == 400
    assert lost not in [p["metadata"]["name"] for p in place.pods("bereft")]


def test_a_job_is_suspended_and_resumed(place: Place, files: Path) -> None:
    submit(place, files, "paused", 400)
    place.wait_step("paused", 30)
    place.astroctl("stop", "paused")
    stopped = place.wait_phase("paused", "suspended")
    place.eventually(lambda: not place.pods("paused"), "the pods are gone")
    assert stopped["progress"]["checkpoint"], "its work is kept"
    place.astroctl("resume", "paused")
    status = place.wait_phase("paused", "succeeded")
    assert status["progress"]["step"] == 400
    assert status["submissionId"] == "paused-0-2"


def test_a_pool_is_scaled(place: Place) -> None:
    if not place.pool:
        pytest.skip("no POOL was given")
    before = int(place.kube.get(POOL, place.pool)["status"]["desired"])

    def is_ready(nodes: int) -> bool:
        return bool(place.kube.get(POOL, place.pool)["status"].get("ready") == nodes)

    try:
        place.astroctl("pools", "scale", place.pool, before + 1, target=False)
        place.eventually(lambda: is_ready(before + 1), f"{before + 1} nodes are ready")
    finally:
        place.astroctl("pools", "scale", place.pool, before, target=False)
    place.eventually(lambda: is_ready(before), f"{before} nodes are left")


def test_a_model_is_served_asked_and_scored(place: Place, files: Path) -> None:
    try:
        options = ("--stage", "cpt", "--name", SERVED, "--timeout", place.patience)
        place.astroctl("serve", "tiny", *options)
        asked = ("--model", SERVED, "--max-tokens", 8, "-o", "json")
        answer = json.loads(place.astroctl("ask", "What is a star?", *asked, target=False))
        assert answer["model"] == SERVED
    finally:
        place.astroctl("serve", "--stop", SERVED)
    place.eventually(lambda: is_empty(place, RAYSERVICE), "the endpoint is gone")
    quiz = ("--questions", files / "quiz.jsonl", "--storage", place.storage, "--name", "again")
    place.astroctl("bench", "tiny", *quiz)
    assert place.status("again")["phase"] == "succeeded"


def test_nothing_is_left(place: Place) -> None:
    for job in place.kube.list(ASTROJOB, place.namespace):
        place.astroctl("delete", job["metadata"]["name"], "--yes")
    for kind in (ASTROJOB, RAYJOB, RAYCLUSTER, RAYSERVICE):
        place.eventually(functools.partial(is_empty, place, kind), f"the {kind.plural} are gone")
    place.uninstall()
    place.eventually(lambda: not place.left_over(), f"all is gone: {place.left_over()}")


def is_empty(place: Place, kind: Resource) -> bool:
    return not place.kube.list(kind, place.namespace)
