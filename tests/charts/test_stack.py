"""The umbrella chart, with small charts in the place of those that cannot be fetched here."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import astrosage
from astroctl.targets.kubernetes import installing, versions
from tests.charts.helm import CHART, STACK, Helm, Refused

_VERSIONS = {"kuberay-operator": "1.7.0", "kueue": "0.19.3"}


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """It, as ``helm dependency update`` leaves it."""
    folder = tmp_path / "stack"
    shutil.copytree(STACK, folder)
    shutil.copytree(CHART, folder / "charts" / "astrosage")
    for name, version in _VERSIONS.items():
        place = folder / "charts" / name
        (place / "templates").mkdir(parents=True)
        (place / "Chart.yaml").write_text(f"apiVersion: v2\nname: {name}\nversion: {version}\n")
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
        (place / "templates" / "made.yaml").write_text(yaml.safe_dump(config))
    return folder


def names(found: list[dict[str, Any]]) -> set[str]:
    return {o["metadata"]["name"] for o in found}


def test_what_is_switched_off_is_not_there(stack: Path, helm: Helm) -> None:
    made = names(helm.template(chart=stack))
    assert {"astrosage-operator", "kuberay-operator"} <= made
    assert "kueue" not in made
    values = {"kuberay-operator": {"enabled": False}, "kueue": {"enabled": True}}
    made = names(helm.template(values, chart=stack))
    assert {"astrosage-operator", "kueue"} <= made
    assert "kuberay-operator" not in made


def test_values_reach_our_chart_and_are_checked(stack: Path, helm: Helm) -> None:
    made = helm.template({"astrosage": {"operator": {"replicas": 1}}}, chart=stack)
    assert [o["spec"]["replicas"] for o in made if o["kind"] == "Deployment"] == [1]
    with pytest.raises(Refused, match="replica"):
        helm.text({"astrosage": {"operator": {"replica": 1}}}, chart=stack)


def test_global_values_are_let_through(stack: Path, helm: Helm) -> None:
    assert helm.template({"global": {"imageRegistry": "r.io"}}, chart=stack)


def test_without_its_parts_helm_says_so(helm: Helm) -> None:
    with pytest.raises(Refused, match="missing in charts"):
        helm.text(chart=STACK)


def test_versions_agree() -> None:
    chart, whole = (yaml.safe_load((c / "Chart.yaml").read_text()) for c in (CHART, STACK))
    assert chart["version"] == chart["appVersion"] == astrosage.__version__
    assert whole["version"] == chart["version"]
    wanted = {d["name"]: d["version"] for d in whole["dependencies"]}
    assert wanted["astrosage"] == chart["version"]
    assert wanted["kuberay-operator"] == versions.KUBERAY_VERSION
    assert (
        wanted["kueue"].lstrip("~").rpartition(".")[0]
        == installing.KUEUE_VERSION.rpartition(".")[0]
    )
