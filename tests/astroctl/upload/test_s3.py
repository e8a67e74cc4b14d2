from __future__ import annotations

import contextlib
import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astroctl.upload import bring_along, transfer
from astroctl.upload.hashes import Hashes
from astroctl.upload.plan import LocalFile
from astroctl.upload.progress import Quiet
from astroctl.upload.s3_parts import PART_BYTES
from astroctl.upload.stores import ObjectStore
from astrosage.data.sources import read_records
from astrosage.errors import DataError, SpecError, StorageError
from astrosage.models.fetch import ensure_local
from astrosage.runs.storage import Storage
from astrosage.spec import local
from astrosage.spec.job import AstroJob
from astrosage.spec.stages import Source
from tests.astroctl.upload.conftest import JobMaker
from tests.runs import s3

pytestmark = pytest.mark.api


class Counted(Quiet):
    def __init__(self) -> None:
        self.bytes = 0
        self.stages: list[str] = []

    def begin(self, what: str, total: int) -> None:
        self.bytes = 0
        self.stages.append(what)

    def add(self, size: int) -> None:
        self.bytes += size


def keys(bucket: str) -> dict[str, int]:
    found = s3.client().list_objects_v2(Bucket=bucket)
    return {item["Key"]: item["Size"] for item in found.get("Contents", [])}


def records(job: AstroJob) -> list[Any]:
    prepare = job.spec.stages[0].prepare
    assert prepare is not None
    found = []
    for source in prepare.sources:
        for record in read_records(source, prepare.format, "source"):
            found.append((record.text, record.line))
    return found


def test_everything_is_brought_once_and_reads_the_same(
    bucket: str, make_job: JobMaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job = make_job(f"s3://{bucket}/runs")
    progress = Counted()
    new, found = bring_along(job, progress=progress)
    assert progress.bytes == found.size == sum(keys(bucket).values())
    assert local.local_paths(new) == []
    assert records(new) == records(job)
    monkeypatch.setenv("ASTROSAGE_CACHE", str(tmp_path / "cache"))
    copy, original = ensure_local(new.spec.model), Path(job.spec.model)
    for file in copy.iterdir():
        assert file.read_bytes() == (original / file.name).read_bytes()
    before = s3.client().list_objects_v2(Bucket=bucket)["Contents"]
    again, second = bring_along(job, progress=progress)
    assert again == new
    assert second.missing == {}
    assert not any("uploading" in s for s in progress.stages[2:])
    assert s3.client().list_objects_v2(Bucket=bucket)["Contents"] == before


def test_a_dry_run_says_what_is_missing_and_sends_nothing(bucket: str, make_job: JobMaker) -> None:
    job = make_job(f"s3://{bucket}/runs")
    new, found = bring_along(job, dry_run=True)
    assert keys(bucket) == {}
    assert found.present == frozenset()
    assert found.missing_size == found.size > 0
    bring_along(make_job(f"s3://{bucket}/runs", sources=["one.txt"]))
    partly = bring_along(job, dry_run=True)[1]
    assert 0 < partly.missing_size < partly.size
    assert bring_along(job)[0] == new


def test_a_job_without_local_files_is_left_alone() -> None:
    from astrosage.spec.load import parse

    job = parse(
        {
            "metadata": {"name": "j"},
            "spec": {
                "model": "org/model",
                "stages": [{"name": "m", "merge": {"models": [{"model": "org/other"}]}}],
            },
        }
    )
    assert bring_along(job)[0] == job


def test_a_local_storage_is_refused(make_job: JobMaker, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"spec\.storage"):
        bring_along(make_job(str(tmp_path)))


def test_the_installations_storage_takes_the_place_of_the_default(
    bucket: str, make_job: JobMaker
) -> None:
    new, _ = bring_along(make_job("./runs"), storage=f"s3://{bucket}/shared")
    assert new.spec.model.startswith(f"s3://{bucket}/shared/.uploads/")


class Cut(Exception):
    """Stands for the death of the process."""


def big(path: Path, size: int) -> LocalFile:
    path.write_bytes(os.urandom(size))
    return LocalFile(path, path.name, *Hashes(persistent=False).of(path))


@pytest.mark.parametrize("parts", [0, 1, 2])
def test_a_large_file_goes_on_where_it_was_cut(bucket: str, tmp_path: Path, parts: int) -> None:
    file = big(tmp_path / "model.safetensors", 2 * PART_BYTES + 1000)
    store = ObjectStore(Storage(f"s3://{bucket}/runs"))
    sent = 0

    def cut(size: int) -> None:
        nonlocal sent
        sent += size
        if sent >= (parts + 1) * PART_BYTES:
            raise Cut

    with contextlib.suppress(Cut, StorageError):
        store.put("x/model.safetensors", file, cut)
    if parts < 2:
        assert keys(bucket) == {}
    uploaded: list[int] = []
    real = store._storage.fs.call_s3

    def counting(method: str, **arguments: Any) -> Any:
        if method == "upload_part":
            uploaded.append(arguments["PartNumber"])
        return real(method, **arguments)

    store._storage.fs.call_s3 = counting
    told: list[int] = []
    store.put("x/model.safetensors", file, told.append)
    if parts < 2:
        assert uploaded == list(range(parts + 2, 4))
    assert sum(told) == file.size
    body = s3.client().get_object(Bucket=bucket, Key="runs/x/model.safetensors")["Body"].read()
    assert body == file.path.read_bytes()
    assert "Uploads" not in s3.client().list_multipart_uploads(Bucket=bucket)


def test_parts_of_other_content_are_not_used(bucket: str, tmp_path: Path) -> None:
    file = big(tmp_path / "f", PART_BYTES + 10)
    begun = s3.client().create_multipart_upload(Bucket=bucket, Key="runs/f")["UploadId"]
    s3.client().upload_part(
        Bucket=bucket, Key="runs/f", UploadId=begun, PartNumber=1, Body=b"0" * PART_BYTES
    )
    ObjectStore(Storage(f"s3://{bucket}/runs")).put("f", file, lambda n: None)
    body = s3.client().get_object(Bucket=bucket, Key="runs/f")["Body"].read()
    assert body == file.path.read_bytes()


@pytest.mark.parametrize("size", [100, PART_BYTES + 100])
def test_a_file_that_changed_is_refused_and_not_there(
    bucket: str, tmp_path: Path, size: int
) -> None:
    file = big(tmp_path / "f", size)
    file.path.write_bytes(os.urandom(size))
    store = ObjectStore(Storage(f"s3://{bucket}/runs"))
    with pytest.raises(DataError, match="changed while it was brought along"):
        store.put("f", file, lambda n: None)
    assert keys(bucket) == {}


def test_one_failure_ends_the_rest_and_what_is_there_stays(bucket: str, tmp_path: Path) -> None:
    files = {f"x/{i}": big(tmp_path / f"{i}", 1000) for i in range(20)}
    bad = dataclasses.replace(files["x/7"], sha256="0" * 64)
    store = ObjectStore(Storage(f"s3://{bucket}/runs"))
    with pytest.raises(DataError, match="changed"):
        transfer.send({**files, "x/7": bad}, store, Quiet(), workers=2)
    there = len(keys(bucket))
    assert there < 20
    transfer.send(files, store, Quiet())
    assert len(keys(bucket)) == 20


def test_a_bucket_that_is_not_there_is_told(bucket: str, make_job: JobMaker) -> None:
    with pytest.raises(StorageError, match="no-such-bucket"):
        bring_along(make_job("s3://no-such-bucket-here/runs"))


NAMES = st.text(st.sampled_from("ab-. é_[1]"), min_size=1, max_size=6).filter(
    lambda n: n.strip(". ") == n
)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    paths=st.dictionaries(
        st.lists(NAMES, min_size=1, max_size=3).map("/".join),
        st.text("xyz ", min_size=1, max_size=20).map(lambda t: t + "."),
        min_size=1,
        max_size=6,
    ),
    pattern=st.sampled_from(["**/*.md", "*/*.md", "*.md", "*[ab]*.md", "**/?.md", "*/**/*.md"]),
)
def test_a_rewritten_pattern_reads_what_the_local_one_reads(
    bucket: str,
    make_job: JobMaker,
    tmp_path_factory: pytest.TempPathFactory,
    paths: dict[str, str],
    pattern: str,
) -> None:
    root = tmp_path_factory.mktemp("texts")
    for name, text in paths.items():
        file = root / f"{name}.md"
        if not any(parent.is_file() for parent in file.parents):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    try:
        expected = list(read_records(Source(path=f"{root}/{pattern}"), "text", "s"))
    except Exception:
        return  # nothing matches
    new, _ = bring_along(make_job(f"s3://{bucket}/runs", sources=[f"{root}/{pattern}"]))
    prepare = new.spec.stages[0].prepare
    assert prepare is not None
    got = list(read_records(prepare.sources[0], "text", "s"))
    assert [r.text for r in got] == [r.text for r in expected]


@pytest.mark.parametrize("name", ["with space.md", "ünïcode.md", "a[1].md", "50%.md", "a#b?c.md"])
def test_a_file_of_any_name_reads_the_same(
    bucket: str, make_job: JobMaker, folder: Path, name: str
) -> None:
    (folder / name).write_text("Text.")
    job = make_job(f"s3://{bucket}/runs", sources=[name])
    new, _ = bring_along(job)
    assert records(new) == records(job)
