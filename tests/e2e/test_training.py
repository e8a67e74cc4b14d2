"""Training on a real local Ray cluster: every ZeRO stage, resume after every kind of death."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from astrosage.runs import manifest
from astrosage.runs.directory import RunDirectory
from tests.e2e.runs import Driver, losses, make_job

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> RunDirectory:
    """A run that nothing disturbs: 2 workers, ZeRO-3."""
    _, run = make_job(tmp_path_factory.mktemp("reference"), tiny_model, "reference")
    Driver(run).succeed()
    return run


@pytest.fixture
def drivers() -> Iterator[list[Driver]]:
    """Whatever happens, nothing is left running."""
    started: list[Driver] = []
    yield started
    for driver in started:
        if driver.process.poll() is None:
            driver.kill_everything()


def assert_same_end(run: RunDirectory, reference: RunDirectory) -> None:
    """The same losses at every step, and the same weights to the bit."""
    assert losses(run) == losses(reference)
    mine, theirs = (r.stage("cpt").manifest("model") for r in (run, reference))
    assert mine is not None
    assert theirs is not None
    assert manifest.content_digest(mine) == manifest.content_digest(theirs)


def test_undisturbed(reference: RunDirectory) -> None:
    values = losses(reference)
    assert sorted(values) == list(range(1, 61))
    assert values[60] < values[1] - 1.0
    progress = reference.progress()
    assert progress["phase"] == "succeeded"
    assert [s["phase"] for s in progress["stages"]] == ["finished", "finished"]
    assert progress["checkpoint"] == "step-00000060"
    folder = Path(reference.uri) / "stages/cpt"
    kept = sorted(p.name for p in (folder / "checkpoints").iterdir() if p.is_dir())
    assert kept == ["step-00000050", "step-00000060"]
    manifest.verify(folder / "model", full=True)
    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    assert model.dtype == torch.bfloat16
    assert AutoTokenizer.from_pretrained(folder / "model").chat_template
    assert "rank-0.log" in reference.stage("cpt").log_names()


def test_exported_model_has_the_validation_loss_of_the_engine(reference: RunDirectory) -> None:
    from astrosage.data.loader import PackedDataset
    from astrosage.runs import metrics
    from astrosage.train import model
    from astrosage.train.batches import flatten

    lines = metrics.read(reference.stage("cpt").storage)
    said = [m["validationLoss"] for m in lines if "validationLoss" in m][-1]
    folder = Path(reference.uri) / "stages"
    loaded = model.load(folder / "cpt/model", bf16=True, activation_checkpointing=False)
    data = PackedDataset(folder / "corpus/shards", "validation")
    rows = data.rows(list(range(len(data))))
    batch = flatten(rows.tokens, rows.segments, rows.mask)
    with torch.no_grad():
        found = float(loaded(batch)) / len(batch.targets)
    assert found == pytest.approx(said, rel=2e-3)  # bf16 sums in other groups of rows


@pytest.mark.parametrize(
    ("stage", "workers"), [(0, 2), (1, 2), (2, 2), (3, 1)], ids=lambda v: str(v)
)
def test_every_zero_stage_and_world_size_learns_the_same(
    tmp_path: Path,
    tiny_model: Path,
    reference: RunDirectory,
    drivers: list[Driver],
    stage: int,
    workers: int,
) -> None:
    _, run = make_job(tmp_path, tiny_model, "other", workers, zero={"stage": stage}, maxSteps=20)
    drivers.append(Driver(run))
    drivers[-1].succeed()
    # The learning-rate schedule differs from the reference's after warm-up, so only the first
    # steps can be compared: same data, same loss.
    mine, theirs = losses(run), losses(reference)
    assert mine[1] == pytest.approx(theirs[1], rel=1e-3)
    assert mine[20] < mine[1] - 0.5


def test_killed_worker_is_restarted_and_nothing_changes(
    tmp_path: Path, tiny_model: Path, reference: RunDirectory, drivers: list[Driver]
) -> None:
    _, run = make_job(tmp_path, tiny_model, "killed-worker")
    drivers.append(Driver(run))
    drivers[-1].until_step(25)
    os.kill(drivers[-1].workers()[-1], signal.SIGKILL)
    drivers[-1].succeed()
    assert_same_end(run, reference)


@pytest.mark.parametrize("victim", ["driver", "cluster"])
def test_killed_driver_or_cluster_resumes_to_the_same_end(
    tmp_path: Path, tiny_model: Path, reference: RunDirectory, drivers: list[Driver], victim: str
) -> None:
    _, run = make_job(tmp_path, tiny_model, "killed-" + victim)
    drivers.append(Driver(run))
    drivers[-1].until_step(25)
    if victim == "driver":
        family = drivers[-1].family()
        drivers[-1].process.kill()
        drivers[-1].process.communicate()
        _clear_away([pid for pid, _ in family])
    else:
        drivers[-1].kill_everything()
    assert run.progress()["phase"] == "running"  # a dead driver cannot say that it died
    drivers.append(Driver(run, attempt=2))
    drivers[-1].succeed()
    assert_same_end(run, reference)


def _clear_away(pids: list[int]) -> None:
    """What the driver leaves behind ends by itself in its own time; the test helps it along."""
    time.sleep(3)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_sigterm_stops_and_the_run_resumes(
    tmp_path: Path, tiny_model: Path, reference: RunDirectory, drivers: list[Driver]
) -> None:
    _, run = make_job(tmp_path, tiny_model, "stopped")
    drivers.append(Driver(run))
    drivers[-1].until_step(15)
    drivers[-1].process.terminate()
    code, _ = drivers[-1].wait()
    assert code == 130
    assert run.progress()["phase"] == "stopped"
    drivers.append(Driver(run, attempt=2))
    drivers[-1].succeed()
    assert_same_end(run, reference)
    drivers.append(Driver(run, attempt=3))
    drivers[-1].succeed()
    assert [s["phase"] for s in run.progress()["stages"]] == ["skipped", "skipped"]


@pytest.mark.parametrize("how", ["signal", "request"])
def test_a_stop_with_time_left_takes_a_checkpoint(
    how: str, tmp_path: Path, tiny_model: Path, reference: RunDirectory, drivers: list[Driver]
) -> None:
    _, run = make_job(tmp_path, tiny_model, f"graceful-{how}")
    drivers.append(Driver(run, ASTROSAGE_STOP_GRACE_SECONDS="60"))
    drivers[-1].until_step(3)
    if how == "signal":
        drivers[-1].process.terminate()
    else:
        run.request_stop()
    code, output = drivers[-1].wait()
    assert code == 130
    stopped = run.progress()
    assert stopped["phase"] == "stopped"
    step = int(stopped["checkpoint"].removeprefix("step-"))
    assert max(losses(run)) == step, "the checkpoint is of the last step"
    assert f"stopped on request after step {step}, with a checkpoint" in output
    assert not run.stop_requested()
    drivers.append(Driver(run, attempt=2))
    drivers[-1].succeed()
    assert_same_end(run, reference)


def test_damaged_newest_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, tiny_model: Path, drivers: list[Driver]
) -> None:
    # Long enough to be killed far from its end, whatever else the machine is doing.
    options = {"maxSteps": 300, "checkpoint": {"everySteps": 10, "keep": 3}}
    _, run = make_job(tmp_path, tiny_model, "damaged", **options)
    folder = Path(run.uri) / "stages/cpt/checkpoints"
    drivers.append(Driver(run))
    drivers[-1].until(lambda: len(recorded(folder)) >= 2)
    drivers[-1].kill_everything()
    *_, before, newest = recorded(folder)
    shard = sorted((folder / newest).rglob("*optim_states.pt"))[-1]
    shard.write_bytes(shard.read_bytes()[:-100])
    drivers.append(Driver(run, attempt=2))
    drivers[-1].succeed()
    log = run.stage("cpt").log("rank-0.log")
    assert f"{newest} is damaged" in log
    assert f"resumed at step {int(before.removeprefix('step-'))} of 300" in log
    assert sorted(losses(run)) == list(range(1, 301))


def recorded(checkpoints: Path) -> list[str]:
    """Names of the checkpoints that Ray Train knows, oldest first."""
    try:
        state = json.loads((checkpoints / "checkpoint_manager_snapshot.json").read_text())
    except (OSError, ValueError):
        return []
    if isinstance(state, str):
        state = json.loads(state)
    return [r["checkpoint_dir_name"] for r in state["checkpoint_results"]]


def test_nan_loss_stops_at_once_and_says_where(
    tmp_path: Path, tiny_model: Path, drivers: list[Driver]
) -> None:
    _, run = make_job(
        tmp_path,
        tiny_model,
        "nan",
        learningRate=1.0,
        gradientClipping=0,
        epsilon=1e-30,
        warmupRatio=0,
        precision="bf16",
        maxSteps=60,
    )
    poison(Path(run.uri), tmp_path, tiny_model)
    drivers.append(Driver(run))
    code, output = drivers[-1].wait()
    assert code == 7, output[-3000:]
    error = run.progress()["error"]
    assert "loss is nan at step 1" in error["message"]
    assert ".txt" in error["message"]
    assert "learningRate" in error["hint"]
    assert run.progress()["phase"] == "failed"
    assert run.finished(run.job().stage("cpt")) is None


def poison(run: Path, folder: Path, model: Path) -> None:
    """Give the run a base model with a NaN in one weight."""
    from safetensors.torch import load_file, save_file

    bad = folder / "poisoned"
    shutil.copytree(model, bad)
    tensors = load_file(bad / "model.safetensors")
    name = next(n for n in tensors if "mlp" in n)
    tensors[name][0, 0] = float("nan")
    save_file(tensors, bad / "model.safetensors", metadata={"format": "pt"})
    job = (run / "job.yaml").read_text()
    (run / "job.yaml").write_text(job.replace(str(model), str(bad)))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MiB; only root may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can be mounted by root only")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk_during_a_checkpoint(
    small_disk: Path, tiny_model: Path, reference: RunDirectory, drivers: list[Driver]
) -> None:
    _, run = make_job(small_disk, tiny_model, "full")
    drivers.append(Driver(run))
    drivers[-1].until_step(12)
    ballast = small_disk / "ballast"
    free = shutil.disk_usage(small_disk).free
    ballast.write_bytes(bytes(max(0, free - 600_000)))  # less than a rank's part of a checkpoint
    code, output = drivers[-1].wait()
    assert code == 5, output[-3000:]
    error = run.progress()["error"]
    assert error["type"] == "StorageError"
    assert "checkpoint" in error["message"]
    assert "free space" in error["hint"]
    folder = Path(run.uri) / "stages/cpt/checkpoints"
    assert not list(folder.glob(".incoming-*/*/*.pt")), "half a checkpoint is left"
    ballast.unlink()
    drivers.append(Driver(run, attempt=2))
    drivers[-1].succeed()
    assert_same_end(run, reference)
