"""Which versions of our definitions, of KubeRay and of Kueue a cluster has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import Missing, NoSuchKind
from astroctl.kube.resources import CRD, Resource
from astroctl.targets.kubernetes.references import visible

KUBERAY_NEEDED = (1, 7)
KUBERAY_VERSION = "1.7.0"
DEPLOYMENT = Resource("apps/v1", "Deployment", "deployments")
_KUBERAY_LABEL = "app.kubernetes.io/name=kuberay-operator"


def served(kube: Kube, group_version: str) -> list[str] | None:
    """Plural names of a group's kinds, which every account may ask for; None if it is unknown."""
    try:
        answer = kube.request("GET", f"/apis/{group_version}")
    except (NoSuchKind, Missing):
        return None
    return [r["name"] for r in answer.get("resources") or [] if "/" not in r["name"]]


def definition(kube: Kube, name: str) -> Object | None:
    """A custom resource definition; None where it may not be seen or is not there."""
    found: Object | None = visible(lambda: kube.get(CRD, name))
    return found


def unknown_fields(kube: Kube, ours: Object) -> list[str] | None:
    """Fields of one of our definitions that the cluster's does not have; None if unseen."""
    theirs = definition(kube, ours["metadata"]["name"])
    if theirs is None:
        return None
    have = set(_fields(_schema(theirs)))
    return [field for field in _fields(_schema(ours)) if field not in have]


def kuberay_operators(kube: Kube) -> list[Object] | None:
    """Deployments of KubeRay's operator in all namespaces; None if they may not be seen."""
    found: list[Object] | None = visible(lambda: kube.list(DEPLOYMENT, labels=_KUBERAY_LABEL))
    return found


def image_version(deployment: Object) -> str:
    """The tag of a deployment's first image, without a leading ``v``; empty if it has none."""
    image = str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    return tag.removeprefix("v")


def numbers(version: str) -> tuple[int, ...]:
    """``1.7.0-rc.1`` as (1, 7, 0); empty where there are none."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def _schema(definition: Object) -> dict[str, Any]:
    versions = definition["spec"]["versions"]
    chosen = next((v for v in versions if v.get("storage")), versions[0])
    schema: dict[str, Any] = chosen["schema"]["openAPIV3Schema"]["properties"].get("spec") or {}
    return schema


def _fields(schema: dict[str, Any], path: str = "spec") -> Iterator[str]:
    for name, inner in (schema.get("properties") or {}).items():
        yield f"{path}.{name}"
        yield from _fields(inner, f"{path}.{name}")
    if isinstance(items := schema.get("items"), dict):
        yield from _fields(items, f"{path}[]")
