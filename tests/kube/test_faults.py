from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import ApiError, Changed, Forbidden, Gone
from astroctl.kube.resources import CONFIGMAP
from astroctl.kube.watch import watch
from tests.kube.faults import Faults


@pytest.fixture
def through(faults: Faults, namespace: str, tmp_path: Path) -> Kube:
    """The administrator, through the proxy."""
    return Kube.connect(kubeconfig=str(faults.kubeconfig(tmp_path / "faults.kubeconfig")))


def config(namespace: str, name: str = "c") -> Object:
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}


def test_without_rules_everything_passes_and_is_counted(
    through: Kube, faults: Faults, namespace: str
) -> None:
    through.create(config(namespace))
    assert through.get(CONFIGMAP, "c", namespace)["kind"] == "ConfigMap"
    assert faults.count()["POST /api/v1/namespaces/*/configmaps"] == 1


def test_answers_are_injected_as_often_as_asked_for(
    through: Kube, faults: Faults, namespace: str
) -> None:
    rule = faults.add("/configmaps", method="POST", status=409, count=1)
    with pytest.raises(Changed):
        through.create(config(namespace))
    through.create(config(namespace))
    assert rule.hits == 1
    # Reads would be repeated by the library itself after that time.
    faults.add("/configmaps", status=429, retry_after=7, count=1)
    with pytest.raises(ApiError) as caught:
        through.create(config(namespace))
    assert caught.value.retry_after == 7


def test_an_answer_can_be_lost_after_the_deed(
    through: Kube, faults: Faults, kube: Kube, namespace: str
) -> None:
    faults.add("/configmaps", method="POST", cut="after", count=1)
    with pytest.raises(ApiError):
        through.create(config(namespace))
    assert kube.get(CONFIGMAP, "c", namespace)


def test_users_keep_their_rights(faults: Faults, namespace: str, user: Any, tmp_path: Path) -> None:
    path = faults.kubeconfig(tmp_path / "user.kubeconfig", like=user("nobody"))
    with pytest.raises(Forbidden):
        Kube.connect(kubeconfig=str(path)).list(CONFIGMAP, namespace)


def test_strangers_are_not_the_administrator(faults: Faults, namespace: str) -> None:
    import httpx

    answer = httpx.get(f"http://{faults.address}/api/v1/namespaces/{namespace}/configmaps")
    assert answer.status_code in (401, 403)


@pytest.mark.parametrize("fault", [{"status": 410}, {"cut": "before"}, {"cut": "middle"}])
def test_watches_go_on(
    through: Kube, faults: Faults, kube: Kube, namespace: str, fault: Any
) -> None:
    faults.add("watch=true", count=2, **fault)
    kube.create(config(namespace, "a"))
    seen = []
    for change, obj in itertools.islice(watch(through, CONFIGMAP, namespace), 2):
        seen.append((change, obj["metadata"]["name"]))
        if len(seen) == 1:
            kube.create(config(namespace, "b"))
    names = {name for _, name in seen}
    assert "b" in names or "kube-root-ca.crt" in names


def test_a_gone_page_is_told(through: Kube, faults: Faults, namespace: str) -> None:
    faults.add("/configmaps", status=410, count=1)
    with pytest.raises(Gone):
        through.list(CONFIGMAP, namespace)
