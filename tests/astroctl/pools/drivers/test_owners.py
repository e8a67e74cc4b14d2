from __future__ import annotations

from typing import Any

import pytest

from astroctl.pools.drivers import owners
from astroctl.pools.drivers.base import ExtraMissing
from astroctl.pools.drivers.choose import driver_of
from astrosage.spec.pool import PoolSpec


def managed(manager: str, **spec: Any) -> dict[str, Any]:
    entry = {"manager": manager, "fieldsV1": {"f:spec": {f"f:{k}": {} for k in spec}}}
    return {"metadata": {"managedFields": [entry]}}


@pytest.mark.parametrize(
    ("manager", "owns"),
    [
        ("kubectl-client-side-apply", False),
        ("kubectl", False),
        ("clusterctl", False),
        ("helm", False),
        ("Terraform", False),
        ("astroctl", False),
        ("helm-controller", True),
        ("argocd-controller", True),
        ("kustomize-controller", True),
        ("cluster-autoscaler", True),
        ("my-operator", True),
    ],
)
def test_programs_own_what_they_set_and_people_do_not(manager: str, owns: bool) -> None:
    assert bool(owners.field_manager(managed(manager, replicas=1))) is owns
    assert not owners.field_manager(managed(manager, template=1))
    assert bool(owners.field_manager(managed(manager, limits=1), "limits")) is owns


@pytest.mark.parametrize(
    ("value", "owns"), [("external-autoscaler", True), ("", True), ("false", False)]
)
def test_pools_that_their_cloud_scales(value: str, owns: bool) -> None:
    mark = {"cluster.x-k8s.io/replicas-managed-by": value}
    assert bool(owners.managed_outside({"metadata": {"annotations": mark}})) is owns
    assert not owners.managed_outside({"metadata": {}})


@pytest.mark.parametrize(
    ("value", "owns"), [("true", True), ("", False), ("false", False), ("owned", True)]
)
def test_tags_of_eks(value: str, owns: bool) -> None:
    assert bool(owners.eks_tags({"k8s.io/cluster-autoscaler/enabled": value})) is owns
    assert not owners.eks_tags({})


@pytest.mark.parametrize(
    ("driver", "module", "more"),
    [
        ("eks", "boto3", {}),
        ("gke", "google.cloud", {"project": "p", "region": "r"}),
        ("aks", "azure.identity", {"subscription": "s", "resourceGroup": "g"}),
    ],
)
def test_a_library_that_is_missing_is_named(
    driver: str, module: str, more: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    reference = {"name": "n", "cluster": "c", "endpoint": "http://127.0.0.1:9", **more}
    spec = PoolSpec.model_validate({"driver": driver, "reference": reference, "maxNodes": 1})
    with pytest.raises(ExtraMissing) as caught:
        driver_of(spec, None)  # type: ignore[arg-type]
    assert f"pip install 'astrosage[{driver}]'" in caught.value.hint
