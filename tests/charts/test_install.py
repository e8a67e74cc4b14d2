"""Helm against a real API server: install, upgrade of the definitions, uninstall."""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from astroctl.kube.client import Kube
from astroctl.kube.resources import (
    CONFIGMAP,
    CRD,
    POD,
    RAYSERVICE,
    SECRET,
    SERVICE_ACCOUNT,
    Resource,
)
from tests.charts.helm import CHART, Helm, Object, Refused
from tests.charts.rbac import remove_rbac
from tests.charts.values import ENDPOINT, MATRIX, merged
from tests.kube.objects import eventually
from tests.kube.plane import Plane

DEPLOYMENT = Resource("apps/v1", "Deployment", "deployments")
_JOBS = "astrojobs.astrosage.io"
# Definitions of the Prometheus operator and of the Gateway API are not there.
_FOREIGN = ("monitoring.coreos.com/", "gateway.networking.k8s.io/")


def minor(kube: Kube) -> int:
    found = re.search(r"v1\.(\d+)", kube.version())
    assert found
    return int(found.group(1))


@dataclass
class Release:
    """A release of the chart in a namespace."""

    helm: Helm
    plane: Plane
    kube: Kube
    namespace: str
    chart: Path

    @property
    def flags(self) -> list[str]:
        """Old API servers stumble over the definitions' rules, which they do not know."""
        if minor(self.kube) >= 25:
            return []
        client_side = ["--server-side=false"] if self.helm.version[0] > 3 else []
        return ["--disable-openapi-validation", *client_side]

    def run(self, *words: str, values: Object | None = None) -> str:
        place = ("--namespace", self.namespace)
        return self.helm.run(*words, *place, values=values, kubeconfig=self.plane.kubeconfig)

    def install(self, *flags: str, **values: Any) -> str:
        words = ["install", "astrosage", str(self.chart), *self.flags, *flags]
        return self.run(*words, values=merged(self.base, values))

    def upgrade(self, *flags: str, **values: Any) -> str:
        words = ["upgrade", "astrosage", str(self.chart), *self.flags, *flags]
        return self.run(*words, values=merged(self.base, values))

    @property
    def base(self) -> Object:
        """Roles for people are cluster-wide; policy/v1 came with Kubernetes 1.21."""
        budget = minor(self.kube) >= 21
        return {
            "operator": {"podDisruptionBudget": budget},
            "fullnameOverride": self.namespace,
        }


@pytest.fixture
def release(
    plane: Plane, kube: Kube, namespace: str, new_helm: Helm, tmp_path: Path
) -> Iterator[Release]:
    yield from _release(plane, kube, namespace, new_helm, tmp_path)


@pytest.fixture
def each_release(
    plane: Plane, kube: Kube, namespace: str, helm: Helm, tmp_path: Path
) -> Iterator[Release]:
    yield from _release(plane, kube, namespace, helm, tmp_path)


def _release(
    plane: Plane, kube: Kube, namespace: str, helm: Helm, tmp_path: Path
) -> Iterator[Release]:
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    if minor(kube) < 25:
        file = chart / "Chart.yaml"
        file.write_text(re.sub(r"(?m)^kubeVersion:.*\n", "", file.read_text()))
    made = Release(helm, plane, kube, namespace, chart)
    yield made
    if "astrosage" in made.run("list", "--short"):
        made.run("uninstall", "astrosage")
    remove_rbac(kube, namespace)


def test_a_life(each_release: Release) -> None:
    """Install, adopt what is there, upgrade the definitions, uninstall, keep them."""
    release = each_release
    said = release.install("--take-ownership", pools={"enabled": True})
    assert "astroctl submit" in said
    assert "KubeRay is not here" in said or release.kube.find(CRD, "rayjobs.ray.io")
    kube, namespace = release.kube, release.namespace
    assert kube.get(DEPLOYMENT, f"{namespace}-operator", namespace)["spec"]["replicas"] == 2
    assert kube.get(CONFIGMAP, "astrosage-settings", namespace)["data"]["settings.yaml"]
    owner = kube.get(CRD, _JOBS)["metadata"]["annotations"]["meta.helm.sh/release-namespace"]
    assert owner == namespace

    assert "Succeeded" in _helm_test(release)
    # What the doctor may do, it may only while it runs.
    assert kube.find(SERVICE_ACCOUNT, f"{namespace}-doctor", namespace) is None

    file = release.chart / "files/crds/astrojobs.yaml"
    before = file.read_text()
    file.write_text(_with_new_field(before))
    release.upgrade()
    assert "brandNew" in _spec_fields(kube)
    file.write_text(before)
    release.upgrade()
    assert "brandNew" not in _spec_fields(kube)

    release.run("uninstall", "astrosage")
    assert kube.find(DEPLOYMENT, f"{namespace}-operator", namespace) is None
    assert kube.find(CRD, _JOBS) is not None


def _helm_test(release: Release) -> str:
    """Run it; no kubelet is here, so the pod is said to have succeeded."""
    name = f"{release.namespace}-doctor"

    def succeed() -> bool:
        pod = release.kube.find(POD, name, release.namespace)
        if pod is None:
            return False
        ended = {"exitCode": 0}
        container = {"name": "doctor", "ready": False, "restartCount": 0, "image": "i"}
        container |= {"imageID": "i", "state": {"terminated": ended}}
        status = {"phase": "Succeeded", "containerStatuses": [container]}
        release.kube.patch(POD, name, {"status": status}, release.namespace, "status")
        return True

    with ThreadPoolExecutor(1) as pool:
        kubelet = pool.submit(eventually, succeed, 60)
        said = release.run("test", "astrosage", "--timeout", "90s")
        kubelet.result()
    return said


def test_definitions_of_someone_else_are_not_taken_without_being_told(
    release: Release, crds: list[str]
) -> None:
    assert _JOBS in crds
    definition = release.kube.get(CRD, _JOBS)
    owner = (definition["metadata"].get("annotations") or {}).get("meta.helm.sh/release-namespace")
    assert owner != release.namespace
    with pytest.raises(Refused, match="ownership"):
        release.install()
    release.install(crds={"install": False})


def test_a_release_fits_into_its_secret(release: Release) -> None:
    release.install("--take-ownership", **MATRIX["teams"] | {"watchNamespaces": []})
    found = release.kube.list(SECRET, release.namespace, labels="owner=helm")
    assert len(found) == 1
    size = len(base64.b64decode(found[0]["data"]["release"]))
    assert size < 250_000, "of 1 MiB"


def test_rays_token_stays_what_it_is(release: Release, crds: list[str]) -> None:
    assert "rayservices.ray.io" in crds
    endpoint = {**ENDPOINT["endpoint"], "rayTokenSecret": ""}
    values = {"crds": {"install": False}, "endpoint": endpoint}
    release.install(**values)
    made = release.kube.get(SECRET, "endpoint-ray-token", release.namespace)["data"]
    release.upgrade(**values, operator={"replicas": 1})
    assert release.kube.get(SECRET, "endpoint-ray-token", release.namespace)["data"] == made
    assert release.kube.find(RAYSERVICE, "endpoint", release.namespace)


@pytest.mark.parametrize("name", ["default", "all", "all-cluster-wide"])
def test_the_server_accepts_what_is_rendered(
    name: str, kube: Kube, crds: list[str], namespace: str, new_helm: Helm
) -> None:
    """As a dry run, kinds of others left out where the cluster may not know them."""
    assert "rayservices.ray.io" in crds
    values = merged(MATRIX[name], {"fullnameOverride": namespace})
    if values.get("watchNamespaces"):
        values = {**values, "watchNamespaces": ["default"]}
    for obj in new_helm.template(values, namespace=namespace):
        version = obj["apiVersion"]
        if version.startswith(_FOREIGN) or (version == "policy/v1" and minor(kube) < 21):
            continue
        _try_create(kube, obj)


def _try_create(kube: Kube, obj: Object) -> None:
    root = f"/apis/{obj['apiVersion']}" if "/" in obj["apiVersion"] else "/api/v1"
    resources = kube.request("GET", root)["resources"]
    plural = next(r["name"] for r in resources if r["kind"] == obj["kind"] and "/" not in r["name"])
    namespace = obj["metadata"].get("namespace")
    place = f"/namespaces/{namespace}" if namespace else ""
    if obj["kind"] == "CustomResourceDefinition" and kube.find(CRD, obj["metadata"]["name"]):
        return
    # Pods are refused whose account is not there.
    dry = None if obj["kind"] == "ServiceAccount" and namespace != "default" else "All"
    query = {"dryRun": dry, "fieldValidation": "Strict"}
    if obj["kind"] == "Pod":
        # Its account's token is a moment late on old servers.
        eventually(lambda: kube.request("POST", f"{root}{place}/{plural}", obj, **query))
    else:
        kube.request("POST", f"{root}{place}/{plural}", obj, **query)


def _with_new_field(text: str) -> str:
    definition = yaml.safe_load(text)
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["properties"]["brandNew"] = {"type": "string"}
    return yaml.safe_dump(definition, sort_keys=False)


def _spec_fields(kube: Kube) -> set[str]:
    schema = kube.get(CRD, _JOBS)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return set(schema["properties"]["spec"]["properties"])
