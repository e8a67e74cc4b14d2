"""The operator and the doctor, as real processes with the chart's rights as their only ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from astroctl.kube.client import Kube, Object
from astroctl.kube.resources import ASTROJOB, EVENT, LEASE, POOL, RAYJOB, SECRET
from tests.charts.helm import Helm, one
from tests.charts.rbac import install_rbac, remove_rbac
from tests.charts.values import merged
from tests.kube import objects
from tests.kube.objects import eventually
from tests.kube.plane import Plane
from tests.kube.processes import free_port

_VALUES: Object = {
    "settings": {"storage": "s3://bucket/runs", "pollSeconds": 1},
    "jobs": {"serviceAccount": {"create": True}},
}
JOB: Object = {
    "apiVersion": ASTROJOB.api_version,
    "kind": "AstroJob",
    "metadata": {"name": "small"},
    "spec": {
        "model": "smollm2-135m",
        "storage": "s3://bucket/runs",
        "stages": [
            {"name": "text", "prepare": {"sources": [{"path": "s3://bucket/t/*.md"}]}},
            {"name": "cpt", "train": {"objective": "cpt", "data": "text", "maxSteps": 1}},
        ],
        "cluster": {"workers": 2},
    },
}
_POOL: Object = {
    "apiVersion": POOL.api_version,
    "kind": "GPUNodePool",
    "spec": {
        "driver": "scale",
        "reference": {
            "apiVersion": "cluster.x-k8s.io/v1beta2",
            "kind": "MachineDeployment",
            "name": "none",
            "namespace": "default",
        },
        "maxNodes": 2,
    },
}


class Running:
    """An operator process."""

    def __init__(self, kubeconfig: Path, settings: Path, namespace: str, log: Path) -> None:
        self.log = log
        self.ports = free_port(), free_port()
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    *("-m", "astroctl.controller"),
                    *("--namespace", namespace, "--settings", str(settings)),
                    *("--health-port", str(self.ports[0]), "--metrics-port", str(self.ports[1])),
                ],
                env={**os.environ, "KUBECONFIG": str(kubeconfig)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def said(self) -> str:
        return self.log.read_text()


@pytest.fixture(params=[False, True], ids=["namespaced", "with-pools"])
def operator(
    request: pytest.FixtureRequest,
    plane: Plane,
    kube: Kube,
    crds: list[str],
    namespace: str,
    tmp_path: Path,
    new_helm: Helm,
) -> Iterator[Running]:
    values = merged(_VALUES, {"pools": {"enabled": request.param}})
    kubeconfig = install_rbac(kube, plane, namespace, tmp_path, values=values, helm=new_helm)
    found = new_helm.template(values, namespace=namespace)
    settings = tmp_path / "settings.yaml"
    text = one(found, "ConfigMap", "astrosage-settings")["data"]["settings.yaml"]
    settings.write_text(text)
    running = Running(kubeconfig, settings, namespace, tmp_path / "operator.log")
    yield running
    if running.process.poll() is None:
        running.process.kill()
        running.process.wait()
    remove_rbac(kube, namespace)


def test_the_operator_works_with_these_rights(
    operator: Running, kube: Kube, namespace: str, request: pytest.FixtureRequest
) -> None:
    with_pools = "with-pools" in request.node.name
    if with_pools:
        pool = {**_POOL, "metadata": {"name": f"{namespace}-pool"}}
        kube.create(pool)
        request.addfinalizer(lambda: kube.delete(POOL, pool["metadata"]["name"]))
    kube.create(merged(JOB, {"metadata": {"namespace": namespace}}))
    rayjob = eventually(lambda: kube.find(RAYJOB, "small-0-1", namespace), seconds=60)
    assert rayjob["spec"]["rayClusterSpec"]
    assert kube.get(LEASE, "astrosage-operator", namespace)["spec"]["holderIdentity"]
    assert kube.get(SECRET, "small-ray-token", namespace)["data"]
    account = rayjob["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert account["serviceAccountName"] == "astrosage-jobs"
    if with_pools:
        eventually(lambda: _conditions(kube.get(POOL, f"{namespace}-pool")), seconds=30)
        told = {"fields": f"involvedObject.name={namespace}-pool"}
        eventually(lambda: kube.list(EVENT, "default", **told), seconds=10)
    # A look at why it waits, with everything that may be read.
    time.sleep(3)
    kube.delete(ASTROJOB, "small", namespace)
    eventually(lambda: kube.find(RAYJOB, "small-0-1", namespace) is None, seconds=30)
    eventually(lambda: kube.find(ASTROJOB, "small", namespace) is None, seconds=30)
    assert operator.stop() == 0
    lines = [line for line in operator.said().splitlines() if "orbidden" in line]
    assert lines == []


def _conditions(pool: Object) -> list[Object]:
    return list((pool.get("status") or {}).get("conditions") or [])


def test_the_doctor_works_with_its_rights(
    plane: Plane, kube: Kube, crds: list[str], namespace: str, tmp_path: Path, new_helm: Helm
) -> None:
    """`helm test` runs it in a pod: here are its account and command, without the pod."""
    found = new_helm.template(_VALUES, namespace=namespace)
    hooks = [o for o in found if "helm.sh/hook" in (o["metadata"].get("annotations") or {})]
    pod = one(hooks, "Pod")["spec"]
    name = pod["serviceAccountName"]
    objects.make_account(kube, namespace, name, one(hooks, "Role")["rules"])
    kube.create(one(found, "ConfigMap", "astrosage-settings"))
    _lead(kube, namespace)
    token = objects.token(kube, namespace, name)
    kubeconfig = plane.kubeconfig_for(tmp_path / "doctor.kubeconfig", token, namespace)
    container = pod["containers"][0]
    done = subprocess.run(
        [sys.executable, "-m", *container["command"]],
        env={
            **os.environ,
            **{e["name"]: e["value"] for e in container["env"]},
            "HOME": str(tmp_path),
            "KUBECONFIG": str(kubeconfig),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "leads" in done.stdout
    assert "image astrosage/ray" in done.stdout


def _lead(kube: Kube, namespace: str) -> None:
    import datetime

    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    kube.create(
        {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"name": "astrosage-operator", "namespace": namespace},
            "spec": {"holderIdentity": "me", "renewTime": now, "leaseDurationSeconds": 60},
        }
    )
