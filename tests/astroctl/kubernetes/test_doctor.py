from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from astroctl.kube.client import Kube
from astroctl.kube.resources import CLAIM, CONFIGMAP, NODE
from astroctl.targets.kubernetes import versions
from tests.astroctl.kubernetes.conftest import SYSTEM, Cli, claim
from tests.kube.fixtures import UserMaker

DOCTOR = ("doctor", "--target", "kubernetes", "-o", "json")


def checks(cli: Cli, *options: object) -> dict[str, dict[str, Any]]:
    result = cli(*DOCTOR, *options)
    assert result.exit_code in (0, 1), result.stderr
    return {r["name"]: r for r in json.loads(result.stdout)}


def deployment(namespace: str, tag: str) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": "kuberay-operator"}
    container = {"name": "operator", "image": f"quay.io/kuberay/operator:{tag}"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "kuberay-operator", "namespace": namespace, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def test_versions_definitions_and_the_operators_lease(
    cli: Cli, lease: None, kube: Kube, namespace: str
) -> None:
    found = checks(cli)
    assert found["cluster"]["state"] == "ok"
    assert "Kubernetes v1." in found["cluster"]["found"]
    assert "with all fields of" in found["AstroJob"]["found"]
    assert "with all fields of" in found["GPUNodePool"]["found"]
    assert found["operator"]["state"] == "ok"
    assert found["operator"]["found"].startswith("one leads")
    assert found["KubeRay"]["state"] == "warn"
    made = kube.request(
        "POST", versions.DEPLOYMENT.path(namespace), deployment(namespace, "v1.5.1")
    )
    path = versions.DEPLOYMENT.path(namespace, made["metadata"]["name"], "status")
    ready = {"status": {"replicas": 1, "readyReplicas": 1, "availableReplicas": 1}}
    kube.request("PATCH", path, ready, content_type="application/merge-patch+json")
    old = checks(cli)["KubeRay"]
    assert old["state"] == "fail"
    assert "1.5.1" in old["found"]
    assert "1.7.0 is needed" in old["remedy"]


def test_no_operator_is_a_failure(cli: Cli) -> None:
    result = cli("doctor", "--target", "kubernetes")
    assert result.exit_code == 1
    assert f"fail operator: none leads in {SYSTEM}" in result.stdout
    assert "-> an administrator: astroctl install" in result.stdout


def test_rights_are_listed_by_what_they_are_for(cli: Cli, user: UserMaker, namespace: str) -> None:
    rules = [
        {"apiGroups": ["astrosage.io"], "resources": ["astrojobs"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    ]
    limited = user("limited", rules)
    found = checks(cli, "--kubeconfig", limited)
    jobs = found["rights: jobs"]
    assert jobs["state"] == "fail"
    assert "create astrosage.io/astrojobs" in jobs["found"]
    assert "get astrosage.io/astrojobs" not in jobs["found"]
    logs = found["rights: logs of the driver"]
    assert logs["state"] == "warn"
    assert "create pods/portforward" in logs["found"]
    assert "list pods" not in logs["found"]
    for name in ("nodes", "operator", "settings"):
        assert found[name]["state"] == "warn", found[name]
        assert "may not be seen" in found[name]["found"]
    skipped = checks(cli, "--kubeconfig", limited, "--skip", "rights", "--skip", "nodes")
    assert not any(name.startswith("rights") or name == "nodes" for name in skipped)
    everything = checks(cli)
    assert everything["rights: jobs"]["state"] == "ok"


def test_gpus_are_counted_on_nodes_that_are_ready(cli: Cli, kube: Kube, namespace: str) -> None:
    names = [f"{namespace}-{i}" for i in range(2)]
    for name, ready in zip(names, ("True", "False"), strict=True):
        kube.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
        status = {
            "allocatable": {"nvidia.com/gpu": "8"},
            "conditions": [{"type": "Ready", "status": ready}],
        }
        kube.patch(NODE, name, {"status": status}, subresource="status")
    try:
        found = checks(cli)
    finally:
        for name in names:
            kube.delete(NODE, name)
    assert found["GPUs"]["found"] == "8 nvidia.com/gpu on 1 nodes"
    assert names[1] in found["nodes not ready"]["found"]


def test_storage_in_a_bucket_is_written_to_from_here(cli: Cli, bucket: str) -> None:
    good = checks(cli, "--storage", bucket)["storage"]
    assert (good["state"], "can be written" in good["found"]) == ("ok", True)
    bad = checks(cli, "--storage", "s3://no-such-bucket-at-all/x")["storage"]
    assert bad["state"] == "fail"


def test_storage_on_a_claim(cli: Cli, kube: Kube, namespace: str) -> None:
    missing = checks(cli, "--storage", "pvc://data/runs")["storage"]
    assert missing["state"] == "fail"
    assert "no PersistentVolumeClaim data" in missing["found"]
    kube.create(claim(namespace, "data"))
    pending = checks(cli, "--storage", "pvc://data/runs")["storage"]
    assert pending["state"] == "warn"
    assert "Pending" in pending["found"]
    bound = {"phase": "Bound", "accessModes": ["ReadWriteMany"]}
    kube.patch(CLAIM, "data", {"status": bound}, namespace, "status")
    assert checks(cli, "--storage", "pvc://data/runs")["storage"]["state"] == "ok"


def test_a_namespace_that_is_not_watched(cli: Cli, lease: None, kube: Kube, namespace: str) -> None:
    settings = {"settings.yaml": "watchNamespaces: [elsewhere]\nimage: lab/ray:3\n"}
    meta = {"name": "astrosage-settings", "namespace": SYSTEM}
    kube.create({"apiVersion": "v1", "kind": CONFIGMAP.kind, "metadata": meta, "data": settings})
    try:
        found = checks(cli)
    finally:
        kube.delete(CONFIGMAP, "astrosage-settings", SYSTEM)
    assert "lab/ray:3" in found["settings"]["found"]
    assert found["watched"]["state"] == "fail"
    assert "elsewhere" in found["watched"]["remedy"]


def test_a_cluster_that_cannot_be_reached_is_one_failure(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.kube.plane import write_kubeconfig

    nowhere = write_kubeconfig(
        tmp_path / "nowhere", {"server": "https://127.0.0.1:9"}, {"token": "x"}
    )
    result = cli("doctor", "--target", "kubernetes", "--kubeconfig", nowhere)
    assert result.exit_code == 1
    assert result.stdout.startswith("fail cluster: the API server at https://127.0.0.1:9")
