from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from astroctl.kube import resources as kinds
from astroctl.kube.client import Kube
from astroctl.kube.errors import (
    AlreadyExists,
    ApiError,
    Changed,
    Forbidden,
    Invalid,
    Missing,
    NoSuchKind,
    Unauthorized,
    explain,
)
from astrosage.errors import AstroError, ClusterError, NotFoundError


def config_map(name: str, namespace: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def test_objects_are_made_read_changed_and_removed(kube: Kube, namespace: str) -> None:
    made = kube.create(config_map("one", namespace, a="1"))
    assert made["metadata"]["uid"]
    with pytest.raises(AlreadyExists):
        kube.create(config_map("one", namespace))
    assert kube.get(kinds.CONFIGMAP, "one", namespace)["data"] == {"a": "1"}
    merged = kube.patch(kinds.CONFIGMAP, "one", {"data": {"b": "2", "a": None}}, namespace)
    assert merged["data"] == {"b": "2"}
    steps = [{"op": "test", "path": "/data/b", "value": "2"}, {"op": "remove", "path": "/data/b"}]
    assert "data" not in kube.patch(kinds.CONFIGMAP, "one", steps, namespace)
    with pytest.raises(AstroError):
        kube.patch(kinds.CONFIGMAP, "one", steps, namespace)
    with pytest.raises(Changed):
        kube.replace(made)
    applied = kube.apply(config_map("one", namespace, c="3"))
    assert applied["data"] == {"c": "3"}
    assert kube.delete(kinds.CONFIGMAP, "one", namespace)
    assert not kube.delete(kinds.CONFIGMAP, "one", namespace)
    assert kube.find(kinds.CONFIGMAP, "one", namespace) is None
    with pytest.raises(Missing):
        kube.get(kinds.CONFIGMAP, "one", namespace)


def test_dry_runs_leave_nothing(kube: Kube, namespace: str) -> None:
    kube.create(config_map("dry", namespace), dry_run=True)
    kube.apply(config_map("dry", namespace), dry_run=True)
    assert kube.find(kinds.CONFIGMAP, "dry", namespace) is None


def test_long_lists_come_in_pages(
    kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("astroctl.kube.client._PAGE", 3)
    for i in range(8):
        kube.create(config_map(f"many-{i}", namespace))
    found = kube.list(kinds.CONFIGMAP, namespace)
    names = {o["metadata"]["name"] for o in found}
    assert {f"many-{i}" for i in range(8)} <= names
    assert all(o["kind"] == "ConfigMap" and o["apiVersion"] == "v1" for o in found)


def test_what_the_server_refuses_names_the_field(kube: Kube, namespace: str) -> None:
    with pytest.raises(Invalid) as caught:
        kube.create(config_map("No_Name", namespace))
    assert caught.value.causes[0][0] == "metadata.name"


def test_unknown_kinds_are_told_from_unknown_objects(kube: Kube, namespace: str) -> None:
    unknown = kinds.Resource("nowhere.example/v1", "Thing", "things")
    with pytest.raises(NoSuchKind, match="does not know this kind"):
        kube.get(unknown, "one", namespace)
    with pytest.raises(NoSuchKind):
        kube.list(unknown, namespace)


def test_rights_and_credentials(user: Any, namespace: str, tmp_path: Path) -> None:
    file = user("reader", [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}])
    reader = Kube.connect(kubeconfig=str(file))
    assert reader.namespace == namespace
    assert reader.list(kinds.POD, namespace) == []
    with pytest.raises(Forbidden, match='cannot list resource "secrets"'):
        reader.list(kinds.SECRET, namespace)
    data = yaml.safe_load(file.read_text())
    data["users"][0]["user"] = {"token": "stale"}
    wrong = tmp_path / "wrong"
    wrong.write_text(yaml.safe_dump(data))
    with pytest.raises(Unauthorized, match="does not accept the credentials"):
        Kube.connect(kubeconfig=str(wrong)).list(kinds.POD, namespace)


def test_a_kubeconfig_that_is_missing_or_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFoundError, match=r"kubeconfig: .*none does not exist"):
        Kube.connect(kubeconfig=str(tmp_path / "none"))
    broken = tmp_path / "broken"
    for text in ("{", "[]", "a: b", "apiVersion: v1\nkind: Config\ncontexts: []\n", ""):
        broken.write_text(text)
        with pytest.raises(AstroError, match="kubeconfig"):
            Kube.connect(kubeconfig=str(broken))


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("no-such-login-program", [], "'no-such-login-program'"),
        ("sh", ["-c", "echo 'expired: log in again' >&2; exit 3"], "expired: log in again"),
        ("sh", ["-c", "echo no JSON"], "failed to decode"),
    ],
)
def test_a_login_program_that_fails_is_told_of(
    tmp_path: Path, command: str, arguments: list[str], words: str
) -> None:
    login = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": command,
        "args": arguments,
        "interactiveMode": "Never",
    }
    data = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"exec": login}}],
    }
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(data))
    with pytest.raises(ClusterError, match="way to log in failed") as caught:
        Kube.connect(kubeconfig=str(file))
    assert words in caught.value.message


def test_a_server_that_is_not_there(plane: Any, tmp_path: Path) -> None:
    data = yaml.safe_load(plane.kubeconfig.read_text())
    data["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    file = tmp_path / "nobody"
    file.write_text(yaml.safe_dump(data))
    with pytest.raises(ApiError, match="cannot be reached") as caught:
        Kube.connect(kubeconfig=str(file)).version()
    assert caught.value.status == 0
    assert caught.value.retryable
    with pytest.raises(NotFoundError, match="kubeconfig"):
        Kube.connect(kubeconfig=str(file), context="other")


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (429, ApiError, True),
        (500, ApiError, True),
        (503, ApiError, True),
        (403, Forbidden, False),
        (401, Unauthorized, False),
        (422, Invalid, False),
    ],
)
def test_statuses_become_errors(status: int, kind: type[AstroError], retryable: bool) -> None:
    error = explain(status, b"<html>busy</html>", "GET /x", {"Retry-After": "7"})
    assert isinstance(error, kind)
    assert error.retryable == retryable
    if kind is ApiError:
        assert error.retry_after == 7
