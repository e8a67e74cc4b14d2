from __future__ import annotations

import multiprocessing
import stat
from pathlib import Path

import pytest

from astroctl import home as state
from astroctl.runs import registry
from astrosage.errors import StorageError


def test_files_are_private_and_replaced_whole(home: Path) -> None:
    path = state.home() / "secret"
    state.write_private(path, "one")
    state.write_private(path, "two")
    assert path.read_text() == "two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert state.is_private(path)
    path.chmod(0o640)
    assert not state.is_private(path)
    assert [p.name for p in home.iterdir()] == ["secret"]


def test_a_broken_state_file_is_told_of(home: Path) -> None:
    state.write_private(state.home() / "x.json", "{")
    with pytest.raises(StorageError, match=r"x\.json is not valid JSON"):
        state.read_json("x.json")


def _put(number: int) -> None:
    registry.put(registry.Record("default", f"run-{number}", "/r", submitted=float(number)))


def test_runs_added_at_the_same_time_are_all_kept(home: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(_put, range(20))
    names = [r.name for r in registry.all_records()]
    assert names == [f"run-{n}" for n in reversed(range(20))]
    registry.remove("default/run-3")
    assert registry.get("default/run-3") is None
    assert registry.get("default/run-4") is not None
