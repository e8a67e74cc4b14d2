from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import pytest

from astrosage.errors import NotFoundError, SpecError, StorageError
from astrosage.models import resolve
from astrosage.models.fetch import ensure_local
from astrosage.runs.storage import Storage


@pytest.fixture
def store(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """An object store with a model in it, and a cache of the test's own."""
    monkeypatch.setenv("ASTROSAGE_CACHE", str(tmp_path / "cache"))
    storage = Storage(f"memory://bucket-{uuid.uuid4().hex}")
    for file in tiny_model.iterdir():
        storage.write_bytes(f"models/tiny/{file.name}", file.read_bytes())
    storage.write_bytes("models/tiny/pytorch_model.bin", b"pickle")
    return storage


def test_a_model_in_a_store_is_copied_into_the_cache_once(
    store: Storage, tiny_model: Path, tmp_path: Path
) -> None:
    uri = store.path("models/tiny")
    resolve.check(uri, "spec.model")
    folder = ensure_local(uri)
    assert folder.is_relative_to(tmp_path / "cache")
    assert {f.name for f in folder.iterdir()} == {f.name for f in tiny_model.iterdir()}
    made = folder.stat().st_mtime_ns
    assert ensure_local(f"{uri}/") == folder
    assert folder.stat().st_mtime_ns == made


def test_what_is_no_model_there_is_told(store: Storage) -> None:
    with pytest.raises(NotFoundError, match="models/none does not exist"):
        ensure_local(store.path("models/none"))
    store.remove("models/tiny/config.json")
    with pytest.raises(NotFoundError, match=r"has no config\.json"):
        ensure_local(store.path("models/tiny"))


def test_what_can_be_known_without_looking() -> None:
    resolve.check("pvc://claim/model", "spec.model")
    resolve.check("/astrosage/storage/model", "spec.model")
    with pytest.raises(StorageError, match="scheme `ftp`"):
        resolve.check("ftp://x/y", "spec.model")
    with pytest.raises(SpecError, match="no alias"):
        resolve.check("nonsense", "spec.model")


def test_a_mounted_folder_is_looked_at_when_it_is_used(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("astrosage.models.resolve.in_pods", lambda value: True)
    with pytest.raises(NotFoundError, match="is not a folder"):
        ensure_local(str(tmp_path / "model"))
    shutil.copytree(tiny_model, tmp_path / "model")
    assert ensure_local(str(tmp_path / "model")) == tmp_path / "model"
