from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from astrosage.errors import NotFoundError, StorageError
from astrosage.runs.directory import RunDirectory
from astrosage.runs.storage import Storage
from astrosage.spec.load import parse
from tests.runs import s3

pytestmark = pytest.mark.api


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3.server() as address:
        yield address


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    return s3.bucket(endpoint, monkeypatch)


@pytest.fixture
def storage(bucket: str) -> Storage:
    return Storage(f"s3://{bucket}/some/runs")


def keys(bucket: str) -> list[str]:
    found = s3.client().list_objects_v2(Bucket=bucket)
    return [item["Key"] for item in found.get("Contents", [])]


def test_round_trip(storage: Storage, bucket: str) -> None:
    storage.write_json("a/b.json", {"x": "ä"})
    assert keys(bucket) == ["some/runs/a/b.json"]
    assert storage.read_json("a/b.json") == {"x": "ä"}
    assert storage.exists("a/b.json")
    assert storage.exists("a")
    assert storage.exists()
    assert storage.names() == ["a"]
    assert storage.names("a") == ["b.json"]
    assert storage.child("a").read_json("b.json") == {"x": "ä"}
    storage.remove("a")
    assert keys(bucket) == []
    assert storage.names("a") == []
    storage.remove("a")


def test_what_others_write_and_delete_is_seen_at_once(storage: Storage, bucket: str) -> None:
    assert not storage.exists("progress.json")
    assert storage.names() == []
    s3.client().put_object(Bucket=bucket, Key="some/runs/progress.json", Body=b'{"step": 1}')
    assert storage.read_json("progress.json") == {"step": 1}
    assert storage.names() == ["progress.json"]
    s3.client().put_object(Bucket=bucket, Key="some/runs/progress.json", Body=b'{"step": 12}')
    assert storage.read_json("progress.json") == {"step": 12}
    s3.client().delete_object(Bucket=bucket, Key="some/runs/progress.json")
    assert not storage.exists("progress.json")
    assert storage.names() == []
    with pytest.raises(NotFoundError, match=r"progress\.json does not exist"):
        storage.read_json("progress.json")
    assert storage.sizes() == {}


def test_markers_that_consoles_make_for_folders_are_no_files(storage: Storage, bucket: str) -> None:
    for key in ("some/runs/", "some/runs/texts/", "some/runs/texts/a.md"):
        body = b"A star." if key.endswith(".md") else b""
        s3.client().put_object(Bucket=bucket, Key=key, Body=body)
    assert storage.names() == ["texts"]
    assert storage.names("texts") == ["a.md"]
    assert storage.sizes("texts") == {"a.md": 7}


def test_folders_whose_names_begin_alike_stay_apart(storage: Storage, tmp_path: Path) -> None:
    storage.write_bytes("model/config.json", b"{}")
    storage.write_bytes("model-2/config.json", b"[]")
    assert storage.sizes("model") == {"config.json": 2}
    copy = storage.localize("model", tmp_path)
    assert [p.name for p in copy.iterdir()] == ["config.json"]
    storage.remove("model")
    assert storage.names() == ["model-2"]


def test_a_folder_is_written_with_its_manifest_last(storage: Storage, bucket: str) -> None:
    with storage.writing("model") as folder:
        (folder / "sub").mkdir()
        (folder / "sub/weights").write_bytes(b"1" * 100)
        (folder / "manifest.json").write_text("{}")
        assert keys(bucket) == []
    listed = s3.client().list_objects_v2(Bucket=bucket)["Contents"]
    assert max(listed, key=lambda item: item["LastModified"])["Key"].endswith("manifest.json")
    assert storage.sizes("model") == {"manifest.json": 2, "sub/weights": 100}


def test_a_copy_is_made_once_and_anew_when_the_store_changes(
    storage: Storage, tmp_path: Path
) -> None:
    storage.write_bytes("model/a", b"one")
    storage.write_bytes("model/sub/b", b"two")
    first = storage.localize("model", tmp_path)
    assert (first / "sub/b").read_bytes() == b"two"
    made = (first / "a").stat().st_mtime_ns
    assert storage.localize("model", tmp_path) == first
    assert (first / "a").stat().st_mtime_ns == made
    storage.write_bytes("model/a", b"eno")
    second = storage.localize("model", tmp_path)
    assert (first / "a").read_bytes() == b"one"  # whoever reads the old one goes on reading it
    assert (second / "a").read_bytes() == b"eno"
    with pytest.raises(NotFoundError, match="does not exist"):
        storage.localize("shards", tmp_path)


def test_ranks_that_ask_at_once_get_one_whole_copy(storage: Storage, tmp_path: Path) -> None:
    for i in range(20):
        storage.write_bytes(f"model/{i}", bytes([i]) * 1000)
    got: list[int] = []

    def ask() -> None:
        folder = Storage(storage.uri).localize("model", tmp_path)
        got.append(sum(p.stat().st_size for p in folder.iterdir()))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [20_000] * 4
    assert len(list(tmp_path.iterdir())) == 1


def test_a_run_directory_on_s3(bucket: str) -> None:
    job = parse(
        {
            "metadata": {"name": "r", "namespace": "team"},
            "spec": {
                "model": "smollm2-135m",
                "storage": f"s3://{bucket}/runs",
                "stages": [{"name": "m", "merge": {"models": [{"model": "smollm2-135m"}]}}],
            },
        }
    )
    run = RunDirectory.of(job)
    assert not run.exists()
    run.create(job)
    assert RunDirectory(run.uri).job() == job
    run.write_progress({"step": 3})
    assert RunDirectory(run.uri).progress()["step"] == 3
    assert run.finished(job.stage("m")) is None
    run.stage("m").storage.write_json("model/manifest.json", {"key": "k", "files": []})
    assert run.finished(job.stage("m")) == {"key": "k", "files": []}
    run.delete()
    assert not run.exists()
    assert keys(bucket) == []


def test_a_bucket_that_is_not_there(bucket: str) -> None:
    storage = Storage("s3://no-such-bucket-anywhere/runs")
    assert not storage.exists("job.yaml")
    with pytest.raises(StorageError, match="no-such-bucket-anywhere") as caught:
        storage.check_writable()
    assert "bucket" in caught.value.hint


def test_no_credentials(bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    s3.forget_clients()
    with pytest.raises(StorageError, match="redentials") as caught:
        Storage(f"s3://{bucket}/runs").check_writable()
    assert "credentials" in caught.value.hint


def test_a_store_that_does_not_answer(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3.forget_clients()
    with pytest.raises(StorageError, match=r"127\.0\.0\.1:9"):
        Storage(f"s3://{bucket}/runs").read_bytes("job.yaml")
