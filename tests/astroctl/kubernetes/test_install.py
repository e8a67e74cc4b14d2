from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from astroctl.targets.kubernetes import installing, versions
from astroctl.targets.kubernetes.installing import Options, steps
from astrosage.errors import ClusterError, ConflictError, NotFoundError
from tests.astroctl.conftest import Astroctl

OPTIONS = Options(helm="helm", chart="charts/astrosage", namespace="astrosage-system")


def deployed(version: str, **annotations: str) -> dict[str, Any]:
    container = {"image": f"quay.io/kuberay/operator:v{version}"}
    return {
        "metadata": {"name": "kuberay-operator", "namespace": "ray", "annotations": annotations},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }


def test_a_fresh_cluster_gets_kuberay_first_and_ours_last() -> None:
    found = list(steps(Options(**{**vars(OPTIONS), "kueue": True}), []))
    assert [s.title for s in found] == ["KubeRay", "Kueue", "astrosage"]
    assert "--version 1.7.0" in found[0].shown
    assert all("--wait" in s.command for s in found)


def test_kuberay_that_is_new_enough_is_left_alone() -> None:
    assert [s.title for s in steps(OPTIONS, [deployed("1.7.2")])] == ["astrosage"]


def test_older_kuberay_is_upgraded_where_helm_put_it_definitions_first() -> None:
    helm = {
        "meta.helm.sh/release-name": "my-ray",
        "meta.helm.sh/release-namespace": "ray",
    }
    definitions, kuberay, _ = steps(OPTIONS, [deployed("1.4.2", **helm)])
    assert definitions.definitions
    assert "show crds" in definitions.shown
    assert definitions.shown.endswith("kubectl apply --server-side --force-conflicts -f -")
    assert "upgrade --install my-ray" in kuberay.shown
    assert "--namespace ray" in kuberay.shown


def test_older_kuberay_that_helm_did_not_install_is_not_touched() -> None:
    with pytest.raises(ConflictError, match=r"KubeRay 1\.4\.2"):
        list(steps(OPTIONS, [deployed("1.4.2")]))
    without = Options(**{**vars(OPTIONS), "kuberay": False})
    assert [s.title for s in steps(without, [deployed("1.4.2")])] == ["astrosage"]


def test_a_dry_run_prints_the_commands_and_needs_no_cluster(
    astroctl: Astroctl, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    result = astroctl("install", "--dry-run", "--kueue", "--set", "a.b=c d", "--context", "lab")
    assert result.exit_code == 0, result.stderr
    lines = [line for line in result.stdout.splitlines() if not line.startswith("#")]
    assert [line.split()[3] for line in lines] == ["kuberay-operator", "kueue", "astrosage"]
    assert "--set 'a.b=c d'" in lines[2]
    assert all("--kube-context lab" in line for line in lines)
    assert "charts/astrosage" in lines[2]


def program(folder: Path, says: str) -> Path:
    file = folder / "helm"
    file.write_text(f"#!/bin/sh\n{says}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


def test_helm_that_is_missing_or_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("ASTROCTL_HELM", raising=False)
    with pytest.raises(NotFoundError, match="helm"):
        installing.find_helm(None)
    old = program(tmp_path, "echo v3.2.1")
    with pytest.raises(ClusterError, match=r"3\.2\.1"):
        installing.find_helm(str(old))
    assert installing.find_helm(str(program(tmp_path, "echo v4.2.3"))) == str(tmp_path / "helm")


def test_helm_that_fails_is_a_cluster_error(tmp_path: Path) -> None:
    step = installing.Step("KubeRay", [str(program(tmp_path, "echo no >&2; exit 3"))])
    with pytest.raises(ClusterError, match="KubeRay: helm failed"):
        installing.perform(step, lambda: pytest.fail("no cluster is asked"))


def test_a_chart_that_is_not_there() -> None:
    with pytest.raises(NotFoundError, match="--chart: nowhere does not exist"):
        installing.find_chart("nowhere")
    assert installing.find_chart("oci://registry.example/astrosage").startswith("oci://")


@pytest.mark.parametrize(
    ("image", "version", "found"),
    [
        ("quay.io/kuberay/operator:v1.7.0", "1.7.0", (1, 7, 0)),
        ("registry:5000/operator", "", ()),
        ("registry:5000/operator:1.8.0-rc.0@sha256:abc", "1.8.0-rc.0", (1, 8, 0)),
        ("operator:nightly", "nightly", ()),
    ],
)
def test_versions_of_images(image: str, version: str, found: tuple[int, ...]) -> None:
    deployment = deployed("0")
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = image
    assert versions.image_version(deployment) == version
    assert versions.numbers(version) == found


def real_helm() -> str | None:
    assets = Path.home() / ".cache" / "control-plane" / "bin" / "helm"
    return os.environ.get("ASTRO_TEST_HELM", "").partition(":")[0] or (
        str(assets) if assets.exists() else shutil.which("helm")
    )


@pytest.mark.skipif(real_helm() is None, reason="no helm: set ASTRO_TEST_HELM")
def test_the_real_helm_tells_its_version() -> None:
    found = real_helm()
    assert found is not None
    assert installing.helm_version(found) >= (3, 8)
