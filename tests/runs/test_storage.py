from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path

import pytest

from astrosage.errors import NotFoundError, StorageError
from astrosage.runs.storage import Storage, os_hint


@pytest.fixture(params=["local", "object store"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return Storage(tmp_path / "root")
    return Storage(f"memory://bucket-{uuid.uuid4().hex}/root")


def test_round_trip(storage: Storage) -> None:
    storage.write_json("a/b.json", {"x": "ä"})
    assert storage.read_json("a/b.json") == {"x": "ä"}
    assert storage.exists("a/b.json")
    assert storage.names("a") == ["b.json"]
    assert storage.child("a").read_json("b.json") == {"x": "ä"}
    storage.remove("a")
    assert not storage.exists("a/b.json")
    assert storage.names("a") == []
    storage.remove("a")  # nothing there, nothing happens


def test_missing_and_broken_files_are_named(storage: Storage) -> None:
    with pytest.raises(NotFoundError, match=r"none\.json does not exist"):
        storage.read_json("none.json")
    storage.write_bytes("bad.json", b"{")
    with pytest.raises(StorageError, match=r"bad\.json is not valid JSON"):
        storage.read_json("bad.json")


def test_a_folder_appears_whole(storage: Storage, tmp_path: Path) -> None:
    with storage.writing("model") as folder:
        (folder / "sub").mkdir()
        (folder / "sub/weights").write_bytes(b"1")
        (folder / "manifest.json").write_text("{}")
        assert not storage.exists("model/manifest.json")
    assert storage.read_bytes("model/sub/weights") == b"1"
    local = storage.localize("model", tmp_path / "cache")
    assert (local / "sub/weights").read_bytes() == b"1"


def test_a_folder_that_fails_leaves_nothing(storage: Storage) -> None:
    def fail() -> None:
        with storage.writing("model") as folder:
            (folder / "weights").write_bytes(b"1")
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        fail()
    assert not storage.exists("model")
    assert storage.names() == []


def test_a_full_disk_while_a_folder_is_filled_is_told(storage: Storage) -> None:
    def fill() -> None:
        with storage.writing("model"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StorageError, match="cannot be written: No space left") as caught:
        fill()
    assert "free space" in caught.value.hint
    assert not storage.exists("model")


def test_what_else_goes_wrong_in_the_block_is_not_laid_on_the_storage(
    storage: Storage, tmp_path: Path
) -> None:
    def fill() -> None:
        with storage.writing("model"):
            (tmp_path / "no such input").read_bytes()

    with pytest.raises(FileNotFoundError, match="no such input"):
        fill()
    assert not storage.exists("model")


def test_a_new_folder_replaces_the_old_one(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    for text in ("old", "new"):
        with storage.writing("model") as folder:
            (folder / text).write_text(text)
    assert storage.names("model") == ["new"]


def test_writing_a_file_leaves_no_temporary_one(tmp_path: Path) -> None:
    Storage(tmp_path).write_bytes("a", b"1")
    assert os.listdir(tmp_path) == ["a"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written: File exists") as caught:
        Storage(tmp_path / "file").check_writable()
    assert "spec.storage" in caught.value.hint
    with (
        pytest.raises(StorageError, match="cannot be written"),
        Storage(tmp_path / "file").writing("model"),
    ):
        pass


def test_a_full_disk_is_told_with_the_next_step() -> None:
    hint = os_hint(OSError(errno.ENOSPC, "No space left on device"), "/data")
    assert "free space" in hint
    assert "astroctl resume" in hint


def test_schemes_that_do_not_work_here() -> None:
    with pytest.raises(StorageError, match="scheme `pvc`"):
        Storage("pvc://claim/path")
    assert Storage("file:///tmp/x").local == Path("/tmp/x")
