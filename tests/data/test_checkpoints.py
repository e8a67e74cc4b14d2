from __future__ import annotations

import errno
import fcntl
import logging
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astrosage.data import checkpoints
from astrosage.data.appended import Appended
from astrosage.data.checkpoints import Checkpoints, half_made, load
from astrosage.data.run import run
from astrosage.data.window import WindowedSplit
from astrosage.errors import ClusterError, ConflictError, DataError, StorageError
from astrosage.runs import manifest
from astrosage.runs.storage import Storage
from tests.data import preparing


class Whole:
    """What a run without interruption leaves."""

    def __init__(self, variant: str, folder: Path, files: dict[str, bytes]) -> None:
        self.variant, self.folder, self.files = variant, folder, files


class Killed(BaseException):
    """What no part of the program catches."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    preparing.small(monkeypatch)


@pytest.fixture(scope="module", params=preparing.VARIANTS)
def whole(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path
) -> Whole:
    """Without checkpoints, too."""
    folder = tmp_path_factory.mktemp("whole")
    context = preparing.context(folder, tiny_model, request.param)
    with pytest.MonkeyPatch.context() as patch:
        preparing.small(patch)
        patch.setattr(checkpoints, "SECONDS", 1e6)
        run(context)
    return Whole(request.param, folder, preparing.files(context))


def killing_at(patch: pytest.MonkeyPatch, place: tuple[type, str], call: int) -> None:
    """End the process' work at the beginning of a method's n-th call."""
    cls, name = place
    original, calls = getattr(cls, name), iter(range(10**9))

    def method(*given: Any, **named: Any) -> Any:
        if next(calls) == call:
            raise Killed
        return original(*given, **named)

    patch.setattr(cls, name, method)


def assert_same(found: dict[str, bytes], expected: dict[str, bytes]) -> None:
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []


PLACES = [(WindowedSplit, "add"), (WindowedSplit, "save"), (WindowedSplit, "forget")]


@settings(
    max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    kills=st.lists(st.tuples(st.sampled_from(PLACES), st.integers(0, 60)), min_size=1, max_size=2)
)
def test_a_run_that_goes_on_leaves_the_bytes_of_one_that_was_not_interrupted(
    whole: Whole, tiny_model: Path, kills: list[Any]
) -> None:
    variant, folder, expected = whole.variant, whole.folder, whole.files
    context = preparing.context(folder, tiny_model, variant, run="interrupted")
    Storage(context.directory.storage.uri).remove()
    for place, call in kills:
        with pytest.MonkeyPatch.context() as patch:
            killing_at(patch, place, call)
            try:
                run(context)
            except Killed:
                assert not context.shards_path("corpus").exists()
                continue
            break
    run(context)
    assert_same(preparing.files(context), expected)
    left = sorted(p.name for p in context.shards_path("corpus").parent.iterdir())
    assert left == ["metrics.jsonl", "shards"]


KILL = """
import os, signal, sys
from pathlib import Path
import pytest
from astrosage.data.run import run
from astrosage.runs import manifest
from astrosage.data import checkpoints
from tests.data import preparing

folder, model, variant, what, call = sys.argv[1:]
calls = iter(range(10**9))
places = {"state": (checkpoints.Checkpoints, "_store_all"), "shards": (manifest, "write")}
owner, name = places[what]
original = getattr(owner, name)

def kill(*given, **named):
    if next(calls) == int(call):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*given, **named)

setattr(owner, name, kill)
preparing.small(pytest.MonkeyPatch())
run(preparing.context(Path(folder), Path(model), variant, run="killed"))
"""


@pytest.mark.parametrize(("what", "call"), [("state", 0), ("state", 7), ("shards", 0)])
def test_a_process_that_is_killed_is_gone_on_with(
    whole: Whole,
    tiny_model: Path,
    what: str,
    call: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    variant, folder, expected = whole.variant, whole.folder, whole.files
    context = preparing.context(folder, tiny_model, variant, run="killed")
    Storage(context.directory.storage.uri).remove()
    arguments = [str(folder), str(tiny_model), variant, what, str(call)]
    done = subprocess.run([sys.executable, "-c", KILL, *arguments], timeout=100, check=False)
    assert done.returncode == -signal.SIGKILL
    stored = sorted(context.directory.storage.local.glob(".shards.half/*.state"))  # type: ignore[union-attr]
    numbers = [int(file.stem) for file in stored]  # the last one stays
    if what == "state":
        assert numbers == ([call - 1] if call else [])
    else:
        assert len(numbers) == 1
        assert numbers[0] > 10
    caplog.set_level(logging.INFO)
    run(context)
    assert ("are prepared already: going on after them" in caplog.text) == bool(stored)
    assert_same(preparing.files(context), expected)


def interrupted(storage: Storage, key: str, *names: str) -> list[str]:
    """What the folder of unfinished work held before these files were left in it."""
    found: list[str] = []
    with suppress(Killed), half_made(storage, key) as folder:
        found = sorted(p.name for p in folder.iterdir())
        for name in names:
            (folder / name).touch()
        raise Killed
    return found


def test_what_was_made_with_another_key_or_code_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(tmp_path)
    assert interrupted(storage, "k", "000000.state") == ["identity"]
    assert interrupted(storage, "k") == ["000000.state", "identity"]
    assert interrupted(storage, "another", "000000.state") == ["identity"]
    monkeypatch.setattr(checkpoints, "_code", lambda: "changed")
    assert interrupted(storage, "another") == ["identity"]


def test_only_an_error_that_may_pass_leaves_something_behind(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    with pytest.raises(ClusterError), half_made(storage, "k"):
        raise ClusterError("gone")
    assert [p.name for p in tmp_path.iterdir()] == [".shards.half"]
    with pytest.raises(DataError), half_made(storage, "k"):
        raise DataError("wrong")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_and_what_was_stored_is_gone_on_with(
    whole: Whole, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variant, folder, expected = whole.variant, whole.folder, whole.files
    context = preparing.context(folder, tiny_model, variant, run="full")
    Storage(context.directory.storage.uri).remove()
    written = iter(range(10**9))
    add = Appended.add

    def filling(file: Appended, data: bytes) -> int:
        if next(written) == 150:
            raise OSError(errno.ENOSPC, "No space left on device")
        return add(file, data)

    with monkeypatch.context() as patch:
        patch.setattr(Appended, "add", filling)
        with pytest.raises(StorageError, match=r"half cannot be written: No space") as caught:
            run(context)
    assert "free space" in caught.value.hint
    assert list(context.directory.storage.local.glob(".shards.half/*.state"))  # type: ignore[union-attr]
    run(context)
    assert_same(preparing.files(context), expected)


def test_two_processes_never_work_on_the_same_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "_PATIENCE_SECONDS", 0.1)
    (tmp_path / ".shards.half").mkdir()
    handle = os.open(tmp_path / ".shards.half", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with (
        pytest.raises(ConflictError, match="in use by another process"),
        half_made(Storage(tmp_path), "k"),
    ):
        pass
    os.close(handle)
    with half_made(Storage(tmp_path), "k"):
        pass


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    storage = Storage("memory://bucket/run")
    yield storage
    storage.remove()


def test_in_an_object_store_the_machine_keeps_what_is_unfinished(
    elsewhere: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert interrupted(elsewhere, "k", "x") == ["identity"]
    assert "on this machine only" in caplog.text
    assert interrupted(elsewhere, "k") == ["identity", "x"]
    assert list(tmp_path.rglob("x"))


class Reduced:
    def __reduce__(self) -> Any:
        return os.getpid, ()


def test_a_state_can_hold_data_only(tmp_path: Path) -> None:
    file = tmp_path / "x.state"
    file.write_bytes(pickle.dumps(Reduced()))
    with pytest.raises(pickle.UnpicklingError, match="getpid is not expected here"):
        load(file)


def test_checkpoints_take_little_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(checkpoints, "SECONDS", 60.0)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    found = Checkpoints(tmp_path)

    def slow(number: int) -> int:
        now[0] += 20
        return number

    now[0] = 61
    assert found.is_due()
    now[0] += 5  # what is under way comes home
    assert found.is_due()
    found.store(slow)
    now[0] += 25 * 30 - 1
    assert not found.is_due()
    now[0] += 2
    assert found.is_due()
    assert Checkpoints(tmp_path).last() == 0


def test_a_finished_stage_is_a_whole_one(whole: Whole, tiny_model: Path) -> None:
    variant, folder, expected = whole.variant, whole.folder, whole.files
    context = preparing.context(folder, tiny_model, variant, run="checked")
    run(context)
    found = manifest.verify(context.shards_path("corpus"), full=True)
    assert_same(preparing.files(context), expected)
    assert found["splits"]["train"]["shards"] > 1
    assert found["report"]["records"] >= found["report"]["kept"] > 10
