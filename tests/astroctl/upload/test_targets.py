from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from astroctl.kube.client import Kube
from astroctl.kube.resources import POD
from astroctl.runs import launch
from astroctl.targets.local import LocalTarget
from astroctl.targets.ray import RayTarget
from astroctl.upload import bring_along
from astroctl.upload.progress import Quiet
from astrosage.data.sources import read_records
from astrosage.errors import SpecError
from astrosage.spec import local
from astrosage.spec.job import AstroJob
from tests.astroctl.kubernetes.test_files import make_claim
from tests.astroctl.upload.conftest import JobMaker
from tests.kube.kubelet import Kubelet


def texts(job: AstroJob, mounted: Path | None = None) -> list[str | None]:
    prepare = job.spec.stages[0].prepare
    assert prepare is not None
    found = []
    for source in prepare.sources:
        path = source.path
        if mounted is not None:
            path = path.replace(local.POD_STORAGE, str(mounted))
        moved = source.model_copy(update={"path": path})
        found += [r.text for r in read_records(moved, "text", "s")]
    return found


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        p.relative_to(folder).as_posix(): (p.stat().st_size, p.stat().st_mtime_ns)
        for p in folder.rglob("*")
        if p.is_file()
    }


def test_through_a_pod_onto_a_claim(
    kube: Kube, namespace: str, kubelet: Kubelet, make_job: JobMaker
) -> None:
    make_claim(kube, namespace)
    claim = kubelet.claim(namespace, "data")
    job = make_job("pvc://data/team")
    job.metadata.namespace = namespace
    new, planned = bring_along(job, kube, dry_run=True)
    assert kube.list(POD, namespace) == []
    assert planned.present is None
    assert bring_along(job, kube)[0] == new
    assert local.local_paths(new) == []
    assert texts(new, claim) == texts(job)
    model = new.spec.model.replace(local.POD_STORAGE, str(claim))
    for file in Path(model).iterdir():
        assert file.read_bytes() == (Path(job.spec.model) / file.name).read_bytes()
    before = tree(claim)
    again, second = bring_along(job, kube)
    assert again == new
    assert second.missing == {}
    assert tree(claim) == before


class Killed(BaseException):
    pass


def test_a_killed_upload_goes_on_from_what_is_there(
    kube: Kube, namespace: str, kubelet: Kubelet, make_job: JobMaker, folder: Path
) -> None:
    make_claim(kube, namespace)
    claim = kubelet.claim(namespace, "data")
    (folder / "big.txt").write_bytes(os.urandom(4_500_000).hex().encode())
    job = make_job("pvc://data", sources=["big.txt", "texts/*.md"])
    job.metadata.namespace = namespace

    class Stops(Quiet):
        def __init__(self, after: int) -> None:
            self.left = after

        def add(self, size: int) -> None:
            self.left -= size
            if self.left < 0:
                raise Killed

    whole = bring_along(job, kube, dry_run=True)[1].size
    for after in (whole + 100, whole + 4_300_000, whole + 9_000_000 - 1):
        with pytest.raises(Killed):
            bring_along(job, kube, progress=Stops(after))
        assert not list(claim.rglob("big.txt"))
    new, _ = bring_along(job, kube)
    assert texts(new, claim) == texts(job)
    assert not list(claim.rglob("*.part"))


def test_a_claim_without_a_cluster(make_job: JobMaker) -> None:
    with pytest.raises(SpecError, match="through its cluster only"):
        bring_along(make_job("pvc://data/x"))


def test_a_ray_cluster_elsewhere_gets_the_files_one_with_our_disk_does_not(
    make_job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def bring(job: AstroJob, **options: Any) -> Any:
        asked.append(options["dry_run"])
        return job, None

    monkeypatch.setattr(launch, "bring_along", bring)
    job = make_job("s3://b/runs")
    for target in (
        LocalTarget(None),
        RayTarget("http://127.0.0.1:8265"),
        RayTarget("http://head:8265", shared_storage=True),
    ):
        new, uploads = launch.brought(job, target)
        assert new is job
        assert uploads.items == ()
    assert asked == []
    launch.brought(job, RayTarget("http://head:8265"), dry_run=True)
    assert asked == [True]
