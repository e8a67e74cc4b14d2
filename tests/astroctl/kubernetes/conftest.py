from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import Missing
from astroctl.kube.resources import ASTROJOB, CLAIM, LEASE, NAMESPACE
from astroctl.kube.times import timestamp
from tests.astroctl.conftest import Astroctl, job_data, write_run
from tests.kube.objects import eventually
from tests.runs import s3

SYSTEM = "astrosage-system"
Cli = Callable[..., Result]


@pytest.fixture
def cli(
    astroctl: Astroctl,
    home: Path,
    kubeconfig: Path,
    namespace: str,
    crds: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Cli:
    """The command line against the real API server, in the test's namespace."""
    monkeypatch.setenv("ASTROCTL_NAMESPACE", namespace)
    return astroctl


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Storage on a real S3 server."""
    with s3.server() as endpoint:
        yield f"s3://{s3.bucket(endpoint, monkeypatch)}/runs"


@pytest.fixture
def job_file(tmp_path: Path, texts: Path, tiny_model: Path, bucket: str) -> Path:
    """A small run file with local texts and model, and storage in the bucket."""
    data = job_data(tiny_model, texts)
    data["spec"]["storage"] = bucket
    return write_run(tmp_path / "job.yaml", data)


@pytest.fixture
def plain_job(tmp_path: Path) -> dict[str, Any]:
    """A job that names nothing of this machine: training on what is in a bucket."""
    return plain("small")


def plain(name: str, storage: str = "s3://bucket/runs") -> dict[str, Any]:
    return {
        "apiVersion": "astrosage.io/v1alpha1",
        "kind": "AstroJob",
        "metadata": {"name": name},
        "spec": {
            "model": "smollm2-135m",
            "storage": storage,
            "stages": [
                {"name": "corpus", "prepare": {"sources": [{"path": "s3://bucket/texts/*.md"}]}},
                {"name": "cpt", "train": {"objective": "cpt", "data": "corpus", "maxSteps": 2}},
            ],
        },
    }


class StandIn:
    """Writes what the operator would write."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self.kube, self.namespace = kube, namespace

    def create(self, data: dict[str, Any]) -> Object:
        meta = {**data["metadata"], "namespace": self.namespace}
        return self.kube.create({**data, "metadata": meta})

    def get(self, name: str) -> Object:
        return self.kube.get(ASTROJOB, name, self.namespace)

    def tell(self, name: str, phase: str, **status: Any) -> Object:
        """Set the status; conditions as ``type=(status, reason, message)`` in ``conditions``."""
        obj = self.get(name)
        conditions = [
            {
                "type": kind,
                "status": holds,
                "reason": reason,
                "message": message,
                "lastTransitionTime": timestamp(time.time()),
            }
            for kind, (holds, reason, message) in status.pop("conditions", {}).items()
        ]
        generation = obj["metadata"]["generation"]
        told = {"phase": phase, "observedGeneration": generation, **status}
        if conditions:
            told["conditions"] = conditions
        return self.kube.patch(ASTROJOB, name, {"status": told}, self.namespace, "status")

    def wait(self, name: str, condition: Callable[[Object], Any], seconds: float = 20.0) -> Object:
        def ask() -> Object | None:
            found = self.get(name)
            return found if condition(found) else None

        found = eventually(ask, seconds)
        assert found is not None
        return found


@pytest.fixture
def stand_in(kube: Kube, namespace: str, crds: list[str]) -> StandIn:
    return StandIn(kube, namespace)


@pytest.fixture
def lease(kube: Kube) -> Iterator[None]:
    """An operator's fresh lease."""
    try:
        kube.get(NAMESPACE, SYSTEM)
    except Missing:
        kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
    kube.delete(LEASE, "astrosage-operator", SYSTEM)
    moment = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    kube.create(
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "astrosage-operator", "namespace": SYSTEM},
            "spec": {"holderIdentity": "one", "renewTime": moment, "leaseDurationSeconds": 15},
        }
    )
    yield
    kube.delete(LEASE, "astrosage-operator", SYSTEM)


def claim(namespace: str, name: str, mode: str = "ReadWriteMany") -> Object:
    return {
        "apiVersion": "v1",
        "kind": CLAIM.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "accessModes": [mode],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "none",
        },
    }
