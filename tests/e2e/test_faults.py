"""Faults on a real local Ray cluster; see faults.py for the table and docs/faults.md."""

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
from typing import Any

import pytest

from astrosage.runs import manifest
from astrosage.runs.directory import RunDirectory
from astrosage.runs.storage import Storage
from astrosage.spec.train import CheckpointSpec
from astrosage.train.checkpoint import Checkpoints
from tests.e2e.faults import FAULTS, PAGE, page
from tests.e2e.runs import Driver, losses, make_job

pytestmark = pytest.mark.e2e
INJECT = Path(__file__).parent / "inject"
STEPS = 40


def train(folder: Path, model: Path, name: str, workers: Any = 2, **options: Any) -> RunDirectory:
    return make_job(folder, model, name, workers, **{"maxSteps": STEPS, **options})[1]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> RunDirectory:
    run = train(tmp_path_factory.mktemp("undisturbed"), tiny_model, "undisturbed")
    Driver(run).succeed()
    return run


@pytest.fixture(scope="module", autouse=True)
def written(request: pytest.FixtureRequest) -> Iterator[None]:
    """The page is written when all of the table has been seen to hold."""
    yield
    if os.environ.get("ASTRO_WRITE_FAULTS") and not request.session.testsfailed:
        PAGE.write_text(page(), encoding="utf-8")


def test_each_line_of_the_table_is_a_test() -> None:
    tests = {n.removeprefix("test_fault_").replace("_", "-") for n in globals() if "_fault_" in n}
    assert {f.name for f in FAULTS} == tests
    assert PAGE.read_text() == page()


class Runner:
    """Starts attempts of a run; whatever happens, nothing is left running."""

    def __init__(self) -> None:
        self.drivers: list[Driver] = []

    def start(self, run: RunDirectory, **variables: Any) -> Driver:
        driver = Driver(run, attempt=len(self.drivers) + 1, **variables)
        self.drivers.append(driver)
        return driver

    def end(self) -> None:
        for driver in self.drivers:
            if driver.process.poll() is None:
                driver.kill_everything()


@pytest.fixture
def runner() -> Iterator[Runner]:
    made = Runner()
    yield made
    made.end()


def fault(what: str, where: str, position: int, rank: int, once: Path | None) -> dict[str, str]:
    """The environment in which a worker meets a fault; see inject/sitecustomize.py."""
    told = {"what": what, "where": where, "position": position, "rank": rank}
    told["once"] = str(once) if once else None
    return {"ASTROSAGE_TEST_FAULT": json.dumps(told), "PYTHONPATH": str(INJECT)}


def assert_same_end(run: RunDirectory, other: RunDirectory) -> None:
    """The same losses at every step, and the same weights to the bit."""
    assert losses(run) == losses(other)
    assert sorted(losses(run)) == list(range(1, STEPS + 1))
    mine, theirs = (r.stage("cpt").manifest("model") for r in (run, other))
    assert mine is not None
    assert theirs is not None
    assert manifest.content_digest(mine) == manifest.content_digest(theirs)


def checkpoints(run: RunDirectory) -> Path:
    return Path(run.uri) / "stages/cpt/checkpoints"


def whole(run: RunDirectory) -> list[str]:
    """Names of the whole checkpoints, oldest first."""
    store = Checkpoints(Storage(checkpoints(run)), CheckpointSpec())
    return [name for name in store.names() if store.is_whole(name)]


def leftovers(run: RunDirectory) -> list[Path]:
    return list(checkpoints(run).glob("step-*/.*"))


def struck(
    where: str,
    position: int,
    rank: int,
    folder: Path,
    model: Path,
    runner: Runner,
    undisturbed: RunDirectory,
) -> str:
    """A rank is killed once; returns its log."""
    run = train(folder, model, where)
    once = folder / "struck"
    runner.start(run, **fault("kill", where, position, rank, once)).succeed()
    assert once.exists(), "the fault did not happen"
    assert_same_end(run, undisturbed)
    assert leftovers(run) == []
    return run.stage("cpt").log("rank-0.log")


def test_fault_forward(
    tmp_path: Path, tiny_model: Path, runner: Runner, undisturbed: RunDirectory
) -> None:
    log = struck("forward", 24, 1, tmp_path, tiny_model, runner, undisturbed)
    assert f"resumed at step 20 of {STEPS}" in log


def test_fault_backward(
    tmp_path: Path, tiny_model: Path, runner: Runner, undisturbed: RunDirectory
) -> None:
    log = struck("backward", 14, 0, tmp_path, tiny_model, runner, undisturbed)
    assert f"resumed at step 10 of {STEPS}" in log


def test_fault_checkpoint(
    tmp_path: Path, tiny_model: Path, runner: Runner, undisturbed: RunDirectory
) -> None:
    log = struck("checkpoint", 20, 1, tmp_path, tiny_model, runner, undisturbed)
    assert "step-00000020 is damaged" in log
    assert f"resumed at step 10 of {STEPS}" in log


def test_fault_hang(
    tmp_path: Path, tiny_model: Path, runner: Runner, undisturbed: RunDirectory
) -> None:
    run = train(tmp_path, tiny_model, "hang", watchdog={"hangSeconds": 6})
    once = tmp_path / "struck"
    runner.start(run, **fault("stop", "backward", 24, 1, once)).succeed()
    assert once.exists()
    assert_same_end(run, undisturbed)
    log = run.stage("cpt").log("rank-0.log")
    assert "no progress for" in log
    assert "since step 25: " in log
    assert "loop.py" in log, "the stacks are there"


def test_fault_controller(
    tmp_path: Path, tiny_model: Path, runner: Runner, undisturbed: RunDirectory
) -> None:
    run = train(tmp_path, tiny_model, "controller")
    first = runner.start(run)
    first.until_step(12)
    titles = ("ray::TrainController", "ray::PlacementGroupCleaner", "ray::RayTrainWorker")
    victims = [pid for pid, title in first.family() if title.startswith(titles)]
    assert len(victims) >= 4
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    first.succeed()
    assert_same_end(run, undisturbed)
    assert "giving back resources of dead workers" in run.stage("cpt").log("driver.log")


def killed(
    victim: str, folder: Path, model: Path, runner: Runner, undisturbed: RunDirectory
) -> None:
    run = train(folder, model, f"killed-{victim}")
    first = runner.start(run)
    first.until_step(24)
    if victim == "driver":
        family = first.family()
        first.process.kill()
        first.process.communicate()
        _clear_away([pid for pid, _ in family])
    else:
        first.kill_everything()
    assert run.progress()["phase"] == "running"  # a dead driver cannot say that it died
    runner.start(run).succeed()
    assert_same_end(run, undisturbed)


def _clear_away(pids: list[int]) -> None:
    """What the driver leaves behind ends by itself in its own time; the test helps it along."""
    time.sleep(3)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_fault_driver(
    tmp_path: Path, tiny_model: Path, runner: Runner, undisturbed: RunDirectory
) -> None:
    killed("driver", tmp_path, tiny_model, runner, undisturbed)


def test_fault_head(
    tmp_path: Path, tiny_model: Path, runner: Runner, undisturbed: RunDirectory
) -> None:
    killed("head", tmp_path, tiny_model, runner, undisturbed)


def test_fault_sigterm(
    tmp_path: Path, tiny_model: Path, runner: Runner, undisturbed: RunDirectory
) -> None:
    run = train(tmp_path, tiny_model, "stopped")
    first = runner.start(run)
    first.until_step(12)
    first.process.terminate()
    code, _ = first.wait()
    assert code == 130
    assert run.progress()["phase"] == "stopped"
    runner.start(run).succeed()
    assert_same_end(run, undisturbed)
    assert "ignored" not in runner.start(run).succeed(), "nothing is cut off at the end"
    assert [s["phase"] for s in run.progress()["stages"]] == ["skipped", "skipped"]


def stopped_with_time(
    how: str, folder: Path, model: Path, runner: Runner, undisturbed: RunDirectory
) -> None:
    run = train(folder, model, f"graceful-{how}")
    first = runner.start(run, ASTROSAGE_STOP_GRACE_SECONDS="60")
    first.until_step(3)
    if how == "signal":
        first.process.terminate()
    else:
        run.request_stop()
    code, output = first.wait()
    assert code == 130
    stopped = run.progress()
    assert stopped["phase"] == "stopped"
    step = int(stopped["checkpoint"].removeprefix("step-"))
    assert max(losses(run)) == step, "the checkpoint is of the last step"
    assert f"stopped on request after step {step}, with a checkpoint" in output
    assert not run.stop_requested()
    runner.start(run).succeed()
    assert_same_end(run, undisturbed)


def test_fault_sigterm_grace(
    tmp_path: Path, tiny_model: Path, runner: Runner, undisturbed: RunDirectory
) -> None:
    stopped_with_time("signal", tmp_path, tiny_model, runner, undisturbed)


def test_fault_stop(
    tmp_path: Path, tiny_model: Path, runner: Runner, undisturbed: RunDirectory
) -> None:
    stopped_with_time("request", tmp_path, tiny_model, runner, undisturbed)


def test_fault_damaged(
    tmp_path: Path, tiny_model: Path, runner: Runner, undisturbed: RunDirectory
) -> None:
    run = train(tmp_path, tiny_model, "damaged", checkpoint={"everySteps": 10, "keep": 3})
    # Killed for good while the step after the third checkpoint is computed.
    strike = fault("kill", "forward", 32, 1, None)
    runner.start(run, **strike).until(lambda: len(whole(run)) >= 3)
    runner.drivers[-1].kill_everything()
    before, middle, newest = whole(run)
    shard = sorted((checkpoints(run) / newest).glob("rank-*.safetensors"))[-1]
    shard.write_bytes(shard.read_bytes()[:-100])
    (checkpoints(run) / middle / "manifest-rank-00001.json").unlink()
    runner.start(run).succeed()
    log = run.stage("cpt").log("rank-0.log")
    assert f"{newest} is damaged" in log
    assert f"{middle} is damaged" in log
    assert f"resumed at step {int(before.removeprefix('step-'))} of {STEPS}" in log
    assert_same_end(run, undisturbed)


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


def test_fault_full_disk(
    small_disk: Path, tiny_model: Path, runner: Runner, undisturbed: RunDirectory
) -> None:
    run = train(small_disk, tiny_model, "full")
    first = runner.start(run)
    first.until_step(12)
    ballast = small_disk / "ballast"
    free = shutil.disk_usage(small_disk).free
    ballast.write_bytes(bytes(max(0, free - 600_000)))  # less than a rank's part of a checkpoint
    code, output = first.wait()
    assert code == 5, output[-3000:]
    error = run.progress()["error"]
    assert error["type"] == "StorageError"
    assert "checkpoint" in error["message"]
    assert "free space" in error["hint"]
    assert leftovers(run) == []
    ballast.unlink()
    runner.start(run).succeed()
    assert_same_end(run, undisturbed)


def test_fault_read_only(
    small_disk: Path, tiny_model: Path, runner: Runner, undisturbed: RunDirectory
) -> None:
    run = train(small_disk, tiny_model, "read-only")
    first = runner.start(run)
    first.until_step(12)
    remount(small_disk, "ro")
    code, output = first.wait()
    assert code == 5, output[-3000:]
    assert "Read-only file system" in output
    remount(small_disk, "rw")
    runner.start(run).succeed()
    assert_same_end(run, undisturbed)


def remount(folder: Path, how: str) -> None:
    """Open files keep a disk from becoming read-only for a moment."""
    for _ in range(500):
        command = ["mount", "-o", f"remount,{how}", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.01)
    raise AssertionError(f"{folder} does not become {how}")


def test_fault_nan_stop(
    tmp_path: Path, tiny_model: Path, runner: Runner, undisturbed: RunDirectory
) -> None:
    run = train(tmp_path, tiny_model, "nan-stop")
    first = runner.start(run, **fault("nan", "forward", 24, 0, None))
    code, output = first.wait()
    assert code == 7, output[-3000:]
    error = run.progress()["error"]
    assert "loss is nan at step 25" in error["message"]
    assert ".txt" in error["message"], "the documents are named"
    assert "step-00000020" in error["hint"]
    assert "learningRate" in error["hint"]
    assert run.progress()["phase"] == "failed"
    assert run.finished(run.job().stage("cpt")) is None
    runner.start(run).succeed()
    assert_same_end(run, undisturbed)


def test_fault_nan_skip(tmp_path: Path, tiny_model: Path, runner: Runner) -> None:
    options = {"watchdog": {"badLoss": "skip"}}
    without = train(tmp_path, tiny_model, "without", **options)
    folder = checkpoints(without)
    folder.mkdir(parents=True)
    (folder / "skipped.json").write_text('{"positions": [24]}')
    runner.start(without).succeed()
    run = train(tmp_path, tiny_model, "nan-skip", **options)
    runner.start(run, **fault("nan", "forward", 24, 1, None)).succeed()
    log = run.stage("cpt").log("rank-0.log")
    assert "going back to step-00000020 and leaving it out" in log
    assert_same_end(run, without)


def test_fault_world_size(
    tmp_path: Path, tiny_model: Path, runner: Runner, undisturbed: RunDirectory
) -> None:
    run = train(tmp_path, tiny_model, "elastic", {"min": 1, "max": 2})
    for cpus, step in ((2, 13), (1, 24)):
        runner.start(run, cpus=cpus).until_step(step)
        runner.drivers[-1].kill_everything()
    runner.start(run, cpus=2).succeed()
    found, right = losses(run), losses(undisturbed)
    assert sorted(found) == sorted(right)
    assert found == pytest.approx(right, rel=5e-3)
    log = run.stage("cpt").log("rank-0.log")
    assert "its 2 workers are 1 now" in log
    assert "its 1 workers are 2 now" in log
