from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from astroctl.kube.client import Kube
from astroctl.kube.errors import ApiError, Forbidden
from astroctl.kube.resources import CONFIGMAP, RAYJOB, SERVICE_ACCOUNT
from tests.kube.objects import eventually
from tests.kube.plane import OwnPlane


def test_a_namespace_is_ready_for_pods(kube: Kube, namespace: str) -> None:
    assert kube.get(SERVICE_ACCOUNT, "default", namespace)


def test_a_user_has_the_given_rights_and_no_others(user: Any, namespace: str) -> None:
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}
    theirs = Kube.connect(kubeconfig=str(user("reader", [rule])))
    assert theirs.namespace == namespace
    theirs.list(CONFIGMAP, namespace)
    with pytest.raises(Forbidden):
        theirs.list(SERVICE_ACCOUNT, namespace)


def test_the_definitions_of_kuberay_are_served(kube: Kube, namespace: str, crds: list[str]) -> None:
    assert "rayjobs.ray.io" in crds
    assert kube.list(RAYJOB, namespace) == []


def test_data_outlives_the_api_server(own_plane: OwnPlane, kube: Kube, namespace: str) -> None:
    metadata = {"name": "kept", "namespace": namespace}
    kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    own_plane.stop_api()
    with pytest.raises(ApiError):
        kube.get(CONFIGMAP, "kept", namespace)
    own_plane.start_api()
    assert eventually(lambda: kube.get(CONFIGMAP, "kept", namespace))


def test_a_frozen_api_server_answers_when_it_thaws(
    own_plane: OwnPlane, kube: Kube, namespace: str
) -> None:
    began = time.monotonic()
    with own_plane.frozen(), pytest.raises(ApiError):
        kube.request("GET", CONFIGMAP.path(namespace), timeout=(1, 1))
    assert time.monotonic() - began > 1
    kube.list(CONFIGMAP, namespace)


def test_credentials_are_private(kubeconfig: Path) -> None:
    assert kubeconfig.stat().st_mode & 0o077 == 0
