import logging
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.errors import SpecError
from astrosage.runs.directory import StageDirectory
from astrosage.runs.storage import Storage
from astrosage.spec.train import Tracker
from astrosage.train import trackers
from astrosage.train.trackers import Trackers
from astrosage.train.tracking.check import check, passed_on
from astrosage.train.tracking.points import Point, is_number
from tests.train import wandb_files

CONFIG = {"learningRate": 1e-3, "zero": {"stage": 3}, "phases": []}


def stage_at(storage: Path | str) -> StageDirectory:
    return StageDirectory(Storage(storage), "cpt")


def step_values(step: int) -> dict[str, Any]:
    return {
        "loss": 3.0 / step,
        "learningRate": 1e-4,
        "seconds": {"forward": 0.25, "backward": 0.5},
        "checkpoint": f"step-{step:08d}",
    }


def train(
    tracking: list[Tracker],
    directory: StageDirectory,
    first: int,
    last: int,
    after_step: int | None = None,
    finished: bool = True,
    config: dict[str, Any] = CONFIG,
) -> None:
    followed = Trackers(tracking, directory, "run", "cpt", config, after_step=after_step)
    for step in range(first, last + 1):
        followed.log(step, step_values(step))
    followed.log(last, {"validationLoss": 2.0, "validationLosses": {"papers.jsonl": 2.5}})
    followed.close(finished=finished)


def test_points_have_flat_names_in_groups() -> None:
    values = {
        "loss": 1.5,
        "gradientNorm": None,
        "checkpoint": "step-1",
        "flag": True,
        "seconds": {"data": 0.5, "note": "x"},
        "validationLoss": 1.0,
        "validationLosses": {"a": 0.0, "b": 1e9},
    }
    assert Point(3, 0.0, values).tags() == {
        "train/loss": 1.5,
        "seconds/data": 0.5,
        "validation/loss": 1.0,
        "validation/perplexity": math.e,
        "validation_loss/a": 0.0,
        "validation_perplexity/a": 1.0,
        "validation_loss/b": 1e9,
        "validation_perplexity/b": pytest.approx(math.exp(700)),
    }


@given(
    st.dictionaries(
        st.text(), st.none() | st.booleans() | st.text() | st.floats() | st.lists(st.integers())
    )
)
def test_only_numbers_are_points(values: dict[str, Any]) -> None:
    numbers = [v for v in values.values() if is_number(v)]
    tags = Point(0, 0.0, values).tags()
    assert len(tags) == len(numbers) + (
        "validationLoss" in values and is_number(values["validationLoss"])
    )
    assert all(isinstance(v, float) for v in tags.values())


# TensorBoard


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return {tag: [(s.step, s.value) for s in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_tensorboard_shows_each_step_once_after_a_resume(tmp_path: Path) -> None:
    train(["tensorboard"], stage_at(tmp_path), 1, 7, finished=False)
    train(["tensorboard"], stage_at(tmp_path), 5, 9, after_step=4)
    found = scalars(tmp_path / "tensorboard")
    assert [step for step, _ in found["train/loss"]] == list(range(1, 10))
    assert [value for _, value in found["train/loss"]] == pytest.approx(
        [3.0 / step for step in range(1, 10)]
    )
    assert found["seconds/backward"][0] == (1, 0.5)
    assert found["validation/loss"] == [(9, 2.0)]  # that of step 7 came after the checkpoint
    assert found["validation_perplexity/papers.jsonl"][-1][1] == pytest.approx(math.exp(2.5))


def test_tensorboard_shows_only_the_new_training_after_a_start_anew(tmp_path: Path) -> None:
    train(["tensorboard"], stage_at(tmp_path), 1, 5)
    train(["tensorboard"], stage_at(tmp_path), 1, 3, after_step=0)
    assert [s for s, _ in scalars(tmp_path / "tensorboard")["train/loss"]] == [1, 2, 3]


def test_tensorboard_forgets_what_was_rolled_back(tmp_path: Path) -> None:
    followed = Trackers(["tensorboard"], stage_at(tmp_path), "run", "cpt", CONFIG)
    for step in (1, 2, 3, 4):
        followed.log(step, {"loss": 1.0})
    followed.rewind(2)
    for step in (3, 4, 5):
        followed.log(step, {"loss": 2.0})
    followed.close()
    assert scalars(tmp_path / "tensorboard")["train/loss"] == [
        (1, 1.0),
        (2, 1.0),
        (3, 2.0),
        (4, 2.0),
        (5, 2.0),
    ]


def test_tensorboard_is_uploaded_where_the_run_has_no_disk(tmp_path: Path) -> None:
    stage = stage_at(f"memory://tensorboard-{os.getpid()}/stages/cpt")
    train(["tensorboard"], stage, 1, 7, finished=False)
    train(["tensorboard"], stage, 5, 9, after_step=4)
    copy = stage.storage.localize("tensorboard", tmp_path)
    assert [s for s, _ in scalars(copy)["train/loss"]] == list(range(1, 10))


def test_tensorboard_is_uploaded_while_training_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from astrosage.train.tracking import tensorboard_files

    monkeypatch.setattr(tensorboard_files, "_UPLOAD_SECONDS", 0.0)
    stage = stage_at(f"memory://tensorboard-live-{os.getpid()}/stages/cpt")
    followed = Trackers(["tensorboard"], stage, "run", "cpt", CONFIG)
    followed.log(1, {"loss": 1.0})
    wait_for(lambda: bool(stage.storage.names("tensorboard")))
    followed.close()


# MLflow


@pytest.fixture
def mlflow_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/mlruns")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    check(["mlflow"], "here")
    return MlflowClient()


def mlflow_runs(client: Any) -> list[Any]:
    experiment = client.get_experiment_by_name("astrosage")
    return list(client.search_runs([experiment.experiment_id]))


def test_mlflow_goes_on_with_the_same_run(mlflow_store: Any, tmp_path: Path) -> None:
    train(["mlflow"], stage_at(tmp_path / "stage"), 1, 7, finished=False)
    (run,) = mlflow_runs(mlflow_store)
    assert run.info.status == "KILLED"
    train(["mlflow"], stage_at(tmp_path / "stage"), 5, 9, after_step=4)
    (run,) = mlflow_runs(mlflow_store)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "run/cpt"
    assert run.data.params == {"learningRate": "0.001", "zero.stage": "3", "phases": "[]"}
    history = mlflow_store.get_metric_history(run.info.run_id, "train/loss")
    assert sorted((m.step, m.value) for m in history) == [(s, 3.0 / s) for s in range(1, 10)]
    assert run.data.metrics["validation_loss/papers.jsonl"] == 2.5


def test_mlflow_begins_a_new_run_for_another_configuration(
    mlflow_store: Any, tmp_path: Path
) -> None:
    train(["mlflow"], stage_at(tmp_path / "stage"), 1, 2)
    train(["mlflow"], stage_at(tmp_path / "stage"), 1, 2, config={"learningRate": 2.0})
    assert len(mlflow_runs(mlflow_store)) == 2


def test_mlflow_begins_a_new_run_where_the_old_one_is_gone(
    mlflow_store: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage = stage_at(tmp_path / "stage")
    train(["mlflow"], stage, 1, 2)
    kept = stage.storage.read_json("tracking/mlflow.json")
    stage.storage.write_json("tracking/mlflow.json", {**kept, "id": "0" * 32})
    train(["mlflow"], stage, 3, 4, after_step=2)
    assert len(mlflow_runs(mlflow_store)) == 2
    assert "cannot be continued" in caplog.text


def test_mlflow_takes_names_of_any_source(mlflow_store: Any, tmp_path: Path) -> None:
    followed = Trackers(["mlflow"], stage_at(tmp_path / "stage"), "run", "cpt", {})
    followed.log(1, {"validationLosses": {"papers/**/*.md (2)": 1.0, "s3://b/ä?.jsonl": 2.0}})
    followed.log(2, {"validationLosses": {"..": 1.0, "a": 3.0, "a/b": 4.0, "/": 5.0}})
    followed.close()
    (run,) = mlflow_runs(mlflow_store)
    assert {2.0, 3.0, 4.0, 5.0} <= set(run.data.metrics.values())


# Weights & Biases


def test_wandb_goes_on_with_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    check(["wandb"], "here")
    train(["wandb"], stage_at(tmp_path), 1, 7, finished=False)
    time.sleep(1.1)  # the folders' names have seconds
    train(["wandb"], stage_at(tmp_path), 5, 9, after_step=4)
    first, second = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    until = time.monotonic() + 60  # its own process still writes what was not finished
    while len(wandb_files.history(first)) < 7 and time.monotonic() < until:
        time.sleep(0.2)
    run, resumed = wandb_files.run_of(first), wandb_files.run_of(second)
    assert run.run_id == resumed.run_id
    assert (run.display_name, run.project, run.run_group) == ("run/cpt", "astrosage", "run")
    history = wandb_files.history(first)
    assert [(h["_step"], h["train/loss"]) for h in history] == [(s, 3.0 / s) for s in range(1, 8)]
    assert history[-1]["validation_loss/papers.jsonl"] == 2.5
    assert [h["_step"] for h in wandb_files.history(second)] == list(range(5, 10))


# Ray


@pytest.mark.e2e
def test_ray_serves_the_metrics_to_prometheus(tmp_path: Path) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    with tempfile.TemporaryDirectory(prefix="ray-") as short:  # sockets need a short path
        subprocess.run(
            [sys.executable, "-m", "tests.train.ray_metrics_run", short, str(tmp_path)],
            check=True,
            timeout=180,
            stdout=subprocess.DEVNULL,
        )
    text = (tmp_path / "metrics.txt").read_text()
    found = {
        (sample.name, sample.labels.get("phase") or sample.labels.get("source") or ""): sample
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("ray_astrosage_train_")
    }
    assert all((s.labels["run"], s.labels["stage"]) == ("r", "cpt") for s in found.values())
    values = {
        (name.removeprefix("ray_astrosage_train_"), label): sample.value
        for (name, label), sample in found.items()
    }
    assert values == {
        ("step", ""): 42,
        ("loss", ""): 2.5,
        ("learning_rate", ""): 1e-4,
        ("gradient_norm", ""): 0.5,
        ("tokens_per_second", ""): 1000,
        ("mfu", ""): 0.4,
        ("seconds_per_step", ""): 1.5,
        ("memory_bytes", ""): 123456789,
        ("step_seconds", "forward"): 0.5,
        ("step_seconds", "backward"): 1.0,
        ("source_validation_loss", 'odd "name"\\*.md'): 3.0,
    }


# What goes wrong


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.02)


def test_a_tracker_that_fails_is_warned_of_once_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    followed = Trackers(["mlflow", "tensorboard"], stage_at(tmp_path), "run", "cpt", CONFIG)
    for step in range(1, 4):
        followed.log(step, step_values(step))
    wait_for(lambda: "tracker mlflow fails" in caplog.text)
    for step in range(4, 7):
        followed.log(step, step_values(step))
    followed.close()
    assert caplog.text.count("tracker mlflow") == 1
    assert [s for s, _ in scalars(tmp_path / "tensorboard")["train/loss"]] == list(range(1, 7))


def test_a_full_disk_does_not_end_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tensorboard").write_text("a file where the folder should be")
    train(["tensorboard"], stage_at(tmp_path), 1, 3)
    assert "tracker tensorboard fails and is left out" in caplog.text


def test_a_tracker_that_never_answers_costs_no_step_and_a_moment_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from astrosage.train.tracking import tensorboard_files

    never = threading.Event()
    monkeypatch.setattr(tensorboard_files.TensorBoard, "open", lambda *_: never.wait(20))
    monkeypatch.setattr(trackers, "_CLOSE_SECONDS", 0.3)
    caplog.set_level(logging.WARNING)
    followed = Trackers(["tensorboard"], stage_at(tmp_path), "run", "cpt", CONFIG)
    began = time.perf_counter()
    for step in range(1, trackers._WAITING + 100):
        followed.log(step, {"loss": 1.0})
    followed.close()
    assert time.perf_counter() - began < 2.0
    assert caplog.text.count("cannot keep up") == 1
    assert "does not answer" in caplog.text
    never.set()


def test_logging_is_cheap(tmp_path: Path) -> None:
    followed = Trackers([], stage_at(tmp_path), "run", "cpt", CONFIG)
    began = time.perf_counter()
    for step in range(1000):
        followed.log(step, step_values(1))
    took = time.perf_counter() - began
    followed.close()
    assert took / 1000 < 1e-3


# What is seen beforehand

FIELD = "spec.stages[1].train.tracking"


@pytest.mark.parametrize(
    ("tracking", "environment", "message"),
    [
        (["mlflow"], {}, "MLFLOW_TRACKING_URI"),
        (["mlflow"], {"MLFLOW_TRACKING_URI": "/data/mlruns"}, "is a folder"),
        (["mlflow"], {"MLFLOW_TRACKING_URI": "sqlite:////data/m.db"}, "sqlalchemy"),
        (["mlflow"], {"MLFLOW_TRACKING_URI": "postgresql+psycopg://h/m"}, "sqlalchemy"),
        (["tensorboard", "wandb"], {}, "WANDB_API_KEY"),
    ],
)
def test_what_a_tracker_lacks_is_said_before_training(
    tracking: list[Tracker],
    environment: dict[str, str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SpecError, match=message) as caught:
        check(tracking, FIELD, environment)
    assert caught.value.message.startswith(FIELD)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("tracking", "environment"),
    [
        (["tensorboard"], {}),
        (["mlflow"], {"MLFLOW_TRACKING_URI": "https://mlflow.example.org"}),
        (["mlflow"], {"MLFLOW_TRACKING_URI": "databricks"}),
        (["wandb"], {"WANDB_API_KEY": "x"}),
        (["wandb"], {"WANDB_MODE": "offline"}),
    ],
)
def test_what_suffices_passes(tracking: list[Tracker], environment: dict[str, str]) -> None:
    check(tracking, FIELD, environment)


def test_a_login_on_this_machine_suffices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / ".netrc"
    file.write_text("machine wandb.example.org login user password key\n")
    file.chmod(0o600)
    check(["wandb"], FIELD, {"WANDB_BASE_URL": "https://wandb.example.org"})
    with pytest.raises(SpecError):
        check(["wandb"], FIELD, {})


def test_a_folder_named_like_the_package_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(SpecError, match="the package wandb"):
        check(["wandb"], FIELD, {"WANDB_MODE": "offline"})


def test_only_the_trackers_own_variables_are_passed_on() -> None:
    environment = {"MLFLOW_TRACKING_URI": "u", "WANDB_API_KEY": "k", "SECRET": "s"}
    assert passed_on(["mlflow"], environment) == {"MLFLOW_TRACKING_URI": "u"}
    assert passed_on(["tensorboard"], environment) == {}
