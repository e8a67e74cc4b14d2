from __future__ import annotations

import pytest

from astroctl.render.settings import Settings
from astroctl.render.storage import claim_and_path, pod_storage, storage_of
from astrosage.errors import SpecError
from astrosage.spec.job import AstroJob
from tests.astroctl.render.reference import small


def stored(where: str) -> AstroJob:
    job = small()
    job.spec.storage = where
    return job


@pytest.mark.parametrize(
    ("storage", "run"),
    [
        ("s3://runs/team", "s3://runs/team/science/small"),
        ("s3://runs/team/", "s3://runs/team/science/small"),
        ("gs://runs", "gs://runs/science/small"),
        ("az://runs/x", "az://runs/x/science/small"),
    ],
)
def test_object_stores_are_used_as_they_are(storage: str, run: str) -> None:
    found = pod_storage(stored(storage), Settings())
    assert found.run_uri == run
    assert found.volumes == [{"name": "cache", "emptyDir": {}}]
    assert found.env[0] == {"name": "ASTROSAGE_CACHE", "value": "/astrosage/cache"}
    assert found.claim is None


@pytest.mark.parametrize(
    ("storage", "run"),
    [
        ("pvc://runs", "/astrosage/storage/science/small"),
        ("pvc://runs/", "/astrosage/storage/science/small"),
        ("pvc://runs/a/b", "/astrosage/storage/a/b/science/small"),
        ("pvc://runs//a/./b/", "/astrosage/storage/a/b/science/small"),
    ],
)
def test_a_claim_is_mounted(storage: str, run: str) -> None:
    found = pod_storage(stored(storage), Settings())
    assert found.run_uri == run
    assert found.claim == "runs"
    assert found.volumes == [{"name": "storage", "persistentVolumeClaim": {"claimName": "runs"}}]
    assert found.mounts == [{"name": "storage", "mountPath": "/astrosage/storage"}]
    assert found.env[0]["value"] == "/astrosage/storage/.cache"


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("./runs", "local path"),
        ("/data/runs", "local path"),
        ("file:///data", "local path"),
        ("ftp://host/x", "scheme `ftp`"),
        ("s3://", "names no bucket"),
        ("s3:///", "names no bucket"),
        ("pvc://", "names no PersistentVolumeClaim"),
        ("pvc:///a", "names no PersistentVolumeClaim"),
        ("pvc://Runs/a", "names no PersistentVolumeClaim"),
        ("pvc://runs/../b", "leads out"),
    ],
)
def test_storage_that_pods_cannot_use_is_refused(storage: str, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        pod_storage(stored(storage), Settings())
    assert caught.value.message.startswith("spec.storage: ")
    assert caught.value.hint


def test_the_installation_replaces_the_built_in_storage_only() -> None:
    settings = Settings(storage="pvc://shared")
    assert storage_of(stored("./runs"), settings) == "pvc://shared"
    assert storage_of(stored("s3://mine"), settings) == "s3://mine"
    with pytest.raises(SpecError, match="/elsewhere"):
        storage_of(stored("/elsewhere"), settings)


def test_claim_and_path() -> None:
    assert claim_and_path("pvc://a.b-c/d//e/") == ("a.b-c", "d/e")
