"""The whole stage on a Ray cluster of two cores."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from astrosage import actors
from astrosage.bench import inputs, pool, run
from astrosage.bench.tasks import Inputs, Writing, make
from astrosage.context import StageContext
from astrosage.endpoints import service as transport
from astrosage.endpoints.kept import NAME as ANSWERS
from astrosage.errors import CapacityError, DataError, NotFoundError, SpecError
from astrosage.runs import manifest, metrics
from astrosage.runs.directory import RunDirectory
from astrosage.spec.load import parse
from astrosage.spec.stages import BenchSpec
from tests import tiny
from tests.bench.samples import questions
from tests.endpoints.fake_service import Service, right_half

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module", autouse=True)
def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_model(tmp_path_factory.mktemp("other") / "model", seed=1)


def write_inputs(folder: Path) -> None:
    lines = [
        {
            "id": q.id,
            "question": q.question,
            "choices": q.choices,
            "answer": q.answer,
            "topic": q.topic,
        }
        for q in questions(20)
    ]
    (folder / "quiz.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for i, text in enumerate(tiny.TEXT):
        (folder / f"heldout-{i}.md").write_text(text)


def context(
    folder: Path,
    model: Path,
    *,
    name: str = "r",
    cluster: dict[str, Any] | None = None,
    **bench: Any,
) -> StageContext:
    if not (folder / "quiz.jsonl").exists():
        write_inputs(folder)
    spec: dict[str, Any] = {
        "model": str(model),
        "questions": [{"path": str(folder / "quiz.jsonl")}],
        "batchSize": 3,
        "generation": {"maxNewTokens": 4},
        **bench,
    }
    if "endpoint" in bench:
        del spec["model"]
    job = parse(
        {
            "metadata": {"name": name},
            "spec": {
                "model": str(model),
                "storage": str(folder / "runs"),
                "stages": [{"name": "score", "bench": spec}],
                "cluster": cluster or {"workers": 2},
            },
        }
    )
    directory = RunDirectory.of(job)
    directory.create(job)
    return StageContext(job.to_yaml_dict(), "score", directory.uri, "the-key")


def test_the_artefact(tmp_path: Path, tiny_model: Path, other_model: Path) -> None:
    stage = context(
        tmp_path,
        tiny_model,
        baseline=str(other_model),
        heldout=[{"path": str(tmp_path / "heldout-*.md")}],
        cluster={"workers": 2, "pricePerHour": 3.6},
    )
    facts = run.run(stage)
    assert facts["peakMemoryBytes"] > 0
    folder = Path(stage.run_uri) / "stages/score/bench"
    assert manifest.verify(folder, full=True)["key"] == "the-key"
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["model"], summary["baseline"]) == (str(tiny_model), str(other_model))
    methods = summary["sets"][0]["methods"]
    assert list(methods) == ["likelihood", "likelihood_normalized", "generation"]
    for result in methods.values():
        assert result["model"]["total"] == result["baseline"]["total"] == 20
        assert 0 <= result["paired"]["p"] <= 1
    heldout = summary["heldout"]
    assert heldout["model"]["documents"] == 4
    assert heldout["model"]["perplexity"] != heldout["baseline"]["perplexity"]
    assert [t["questions"] for t in summary["sets"][0]["topics"]] == [10, 10]
    cost = summary["cost"]
    assert 1 <= cost["workers"] <= 2
    assert cost["usd"] == pytest.approx(cost["seconds"] / 1000, abs=1e-4)
    assert 0 < cost["model"]["usd"] + cost["baseline"]["usd"] < cost["usd"]
    assert cost["tokens"]["prompt"] > cost["tokens"]["completion"] > 0
    assert cost["usdPer100kTokens"] > 0
    ratio = summary["specialising"]["inside"]["heldout"]["perplexityRatio"]
    assert ratio["low"] <= ratio["value"] <= ratio["high"]
    assert (summary["predictions"], summary["service"]) == (None, None)
    assert len((folder / "records.jsonl").read_text().splitlines()) == 60
    assert "<svg" in (folder / "report.html").read_text()
    last = metrics.last(stage.directory.storage)
    assert last is not None
    assert (last["step"], last["total"], last["unit"]) == (80, 80, "questions")


def test_records_do_not_depend_on_the_workers(
    tmp_path: Path, tiny_model: Path, other_model: Path
) -> None:
    found = []
    for workers in (1, 2):
        stage = context(
            tmp_path,
            tiny_model,
            name=f"w{workers}",
            baseline=str(other_model),
            cluster={"workers": workers},
            methods=["likelihood", "letter", "generation"],
            shuffles=2,
        )
        run.run(stage)
        found.append(Path(stage.run_uri, "stages/score/bench/records.jsonl").read_bytes())
    assert found[0] == found[1]


def test_more_workers_than_room_is_no_hang(tmp_path: Path, tiny_model: Path) -> None:
    stage = context(tmp_path, tiny_model, methods=["likelihood"], cluster={"workers": 5})
    run.run(stage)
    summary = json.loads(Path(stage.run_uri, "stages/score/bench/summary.json").read_text())
    assert 1 <= summary["cost"]["workers"] <= 2
    assert summary["baseline"] is None
    assert summary["sets"][0]["methods"]["likelihood"]["paired"] is None


def test_a_worker_no_node_can_hold_is_an_error(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actors, "_TOO_SMALL_SECONDS", 0.0)
    stage = context(tmp_path, tiny_model, cluster={"resourcesPerWorker": {"cpu": 64}})
    with pytest.raises(CapacityError, match="no node has room for a worker with 64 CPU") as caught:
        run.run(stage)
    assert "2 CPU" in caught.value.message
    assert stage.directory.storage.names("bench") == []


def test_a_killed_worker_is_replaced(tmp_path: Path, tiny_model: Path) -> None:
    stage = context(tmp_path, tiny_model)
    asked = Inputs({"model": str(tiny_model)}, tuple(questions(20)), writing=Writing(4))
    todo = make(asked, ["likelihood", "generation"], 3, ["model"])
    done = []
    for found in pool.Pool(stage, asked).perform(todo):
        done.append(found.task)
        if len(done) == 2:
            workers = [
                p
                for p in psutil.Process().children(recursive=True)
                if p.name().startswith("ray::Worker")
            ]
            assert workers
            os.kill(workers[0].pid, signal.SIGKILL)
    assert sorted(t.items for t in done) == sorted(t.items for t in todo)


def test_errors_of_a_worker_are_the_stages_errors(tmp_path: Path, tiny_model: Path) -> None:
    stage = context(tmp_path, tiny_model)
    line = {"id": "long", "question": "why? " * 300, "choices": ["a", "b"], "answer": 0}
    (tmp_path / "quiz.jsonl").write_text(json.dumps(line))
    with pytest.raises(DataError, match="question long has") as caught:
        run.run(stage)
    assert type(caught.value) is DataError
    assert stage.directory.storage.names("bench") == []


def test_faults_are_found_before_anything_is_scored(tmp_path: Path, tiny_model: Path) -> None:
    absent = [{"path": str(tmp_path / "absent.jsonl")}]
    with pytest.raises(NotFoundError, match=r"spec.stages\[0\].bench.questions\[0\].path"):
        run.run(context(tmp_path, tiny_model, name="a", questions=absent))
    twice = [{"path": str(tmp_path / "quiz.jsonl")}] * 2
    with pytest.raises(SpecError, match="another question set is called `quiz` too"):
        run.run(context(tmp_path, tiny_model, name="b", questions=twice))


def test_an_endpoint_has_no_perplexity_and_no_password_in_its_name(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    spec = BenchSpec.model_validate(
        {
            "endpoint": {"url": "http://me:hidden@host:1/v1", "model": "m"},
            "questions": [{"path": str(tmp_path / "quiz.jsonl")}],
            "heldout": [{"path": str(tmp_path / "heldout-*.md")}],
        }
    )
    with pytest.raises(SpecError, match=r"where\.heldout: perplexity is measured on a model"):
        list(inputs.load_heldout(spec, "where"))
    assert run.model_name(spec) == "m at http://host:1/v1"


def summary_of(stage: StageContext) -> Any:
    return json.loads(Path(stage.run_uri, "stages/score/bench/summary.json").read_text())


def test_the_whole_protocol(tmp_path: Path, tiny_model: Path, other_model: Path) -> None:
    write_inputs(tmp_path)
    dev = [
        {"id": f"d{i}", "question": f"What is {i}?", "choices": ["one", "two"], "answer": i % 2}
        for i in range(4)
    ]
    (tmp_path / "dev.jsonl").write_text("".join(json.dumps(d) + "\n" for d in dev))
    rows = "".join(f"Why {i}?,one,two,three,four,{'ABCD'[i % 4]}\n" for i in range(6))
    (tmp_path / "history_test.csv").write_text(rows)
    stage = context(
        tmp_path,
        tiny_model,
        baseline=str(other_model),
        questions=[
            {"path": str(tmp_path / "quiz.jsonl")},
            {"path": str(tmp_path / "history_test.csv"), "role": "outside"},
        ],
        heldout=[
            {"path": str(tmp_path / "heldout-[01].md")},
            {"path": str(tmp_path / "heldout-[23].md"), "role": "outside"},
        ],
        methods=["letter", "likelihood"],
        shots=1,
        shotsFrom=str(tmp_path / "dev.jsonl"),
        shuffles=2,
    )
    run.run(stage)
    summary = summary_of(stage)
    quiz, history = summary["sets"]
    assert (quiz["shots"], quiz["role"], history["role"]) == (1, "inside", "outside")
    assert list(history["methods"]) == ["likelihood", "likelihood_normalized", "letter"]
    letter = history["methods"]["letter"]["model"]
    assert letter["shuffled"]["orders"] == 3
    assert sum(letter["letters"]["chosen"].values()) == 18
    assert letter["calibration"]["expectedCalibrationError"] >= 0
    found = summary["specialising"]
    assert found["outside"]["accuracy"]["letter"]["questions"] == 6
    assert found["outside"]["heldout"]["documents"] == found["inside"]["heldout"]["documents"] == 2
    page = Path(stage.run_uri, "stages/score/bench/report.html").read_text()
    for said in ("What specialising costs", "calibration", "in other orders", "Loss outside"):
        assert said in page, said


def test_questions_without_keys_end_in_predictions(tmp_path: Path, tiny_model: Path) -> None:
    rows = [{"question": f"Why {i}?", **dict(zip("ABCD", "wxyz", strict=True))} for i in range(25)]
    (tmp_path / "open.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    questions_ = [{"path": str(tmp_path / "open.jsonl")}]
    stage = context(tmp_path, tiny_model, questions=questions_, methods=["letter"])
    run.run(stage)
    folder = Path(stage.run_uri, "stages/score/bench")
    assert manifest.verify(folder, full=True)
    lines = (folder / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [str(i) for i in range(25)]
    summary = summary_of(stage)
    assert summary["predictions"]["answers"] == 25
    assert not summary["sets"][0]["scored"]
    page = (folder / "report.html").read_text()
    assert "open: not scored." in page
    assert "Accuracy on" not in page


def test_an_example_that_is_scored_stops_the_stage(tmp_path: Path, tiny_model: Path) -> None:
    write_inputs(tmp_path)
    path = str(tmp_path / "quiz.jsonl")
    with pytest.raises(DataError, match=r"bench\.shotsFrom: question `q\d+` is scored too"):
        run.run(context(tmp_path, tiny_model, shots=2, shotsFrom=path))


def test_a_service_within_a_run(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_FIRST_PAUSE_SECONDS", 0.01)
    service = Service()
    service.answer = right_half
    lines = [
        {"id": f"q{i}", "question": f"Why {i}?", "choices": ["a", "b"], "answer": i % 2}
        for i in range(20)
    ]
    (tmp_path / "quiz.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    prices = {"inputPerMillion": 10, "outputPerMillion": 20}

    def served(**more: Any) -> StageContext:
        endpoint = {"url": service.url, "model": "m", "prices": prices, "concurrency": 1}
        folder = tmp_path / "runs"
        if (folder / "default" / "r").exists():
            shutil.rmtree(folder / "default" / "r" / "stages" / "score" / "bench", True)
            (folder / "default" / "r" / "job.yaml").unlink()
        return context(tmp_path, tiny_model, endpoint=endpoint, **more)

    try:
        with pytest.raises(SpecError, match=r"spec\.stages\.score\.bench\.budget\.usd") as caught:
            run.run(served(budget={"usd": 0.0016}))
        assert "6 of 20 questions" in caught.value.message
        assert "astroctl resume r --set spec.stages.score.bench.budget.usd=…" in caught.value.hint
        stage = served(budget={"usd": 1})
        run.run(stage)
        assert len(service.requests) == 20
        assert len(Path(stage.run_uri, "stages/score", ANSWERS).read_text().splitlines()) == 20
    finally:
        service.close()
    summary = summary_of(stage)
    assert (summary["service"]["asked"], summary["service"]["reused"]) == (14, 6)
    assert summary["cost"]["usd"] == pytest.approx(20 * (20 * 10 + 5 * 20) / 1e6)
    assert summary["cost"]["usdPer100kTokens"] == pytest.approx(1.2)
    page = Path(stage.run_uri, "stages/score/bench/report.html").read_text()
    assert "Accuracy and cost" in page
    assert "14 requests; 6 answers were kept from before." in page
