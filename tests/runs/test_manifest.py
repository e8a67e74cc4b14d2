import json
from pathlib import Path

import pytest

from astrosage.errors import StorageError
from astrosage.runs import manifest


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "sub/b").write_bytes(b"def")
    manifest.write(tmp_path, key="k", tokens=7)
    return tmp_path


def test_lists_every_file_with_size_and_hash(artefact: Path) -> None:
    found = manifest.verify(artefact, full=True)
    assert [(f["path"], f["size"]) for f in found["files"]] == [("a", 3), ("sub/b", 3)]
    assert found["files"][0]["sha256"].startswith("ba7816bf")
    assert (found["key"], found["tokens"]) == ("k", 7)


def test_missing_short_and_changed_files_are_found(artefact: Path) -> None:
    (artefact / "a").write_bytes(b"abX")
    manifest.verify(artefact)  # the size is right; only a full check sees it
    with pytest.raises(StorageError, match="has other content"):
        manifest.verify(artefact, full=True)
    (artefact / "a").write_bytes(b"ab")
    with pytest.raises(StorageError, match="has 2 bytes; the manifest says 3"):
        manifest.verify(artefact)
    (artefact / "a").unlink()
    with pytest.raises(StorageError, match="is missing"):
        manifest.verify(artefact)


def test_without_a_manifest_nothing_is_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="not a finished artefact"):
        manifest.verify(tmp_path)


def test_content_digest_depends_on_content_and_paths_alone(artefact: Path) -> None:
    first = manifest.content_digest(json.loads((artefact / manifest.NAME).read_text()))
    assert manifest.content_digest(manifest.write(artefact, key="other", more=1)) == first
    (artefact / "a").rename(artefact / "c")
    assert manifest.content_digest(manifest.write(artefact, key="k")) != first
