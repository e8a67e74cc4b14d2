"""A real API server takes what is rendered, and drops none of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from astroctl.kube.client import Kube
from astroctl.render.extras import token_secret
from tests.astroctl.render.reference import REFERENCES
from tests.astroctl.render.test_golden import rendered

pytestmark = pytest.mark.api


@pytest.mark.parametrize("name", REFERENCES)
def test_nothing_is_pruned(kube: Kube, crds: Any, namespace: str, name: str) -> None:
    for manifest in rendered(REFERENCES[name]):
        if manifest["kind"] == "RayJob":
            manifest["metadata"]["namespace"] = namespace
            made = kube.create(manifest)
            assert _lost(manifest["spec"], made["spec"]) == []


@pytest.mark.parametrize("name", REFERENCES)
def test_pods_can_be_made_of_the_templates(kube: Kube, namespace: str, name: str) -> None:
    for manifest in rendered(REFERENCES[name]):
        if manifest["kind"] == "RayJob":
            for pod in _pods(manifest["spec"]["rayClusterSpec"]):
                pod["metadata"]["namespace"] = namespace
                made = kube.create(pod, dry_run=True)
                assert _lost(pod["spec"], made["spec"]) == []


def test_the_tokens_secret_is_taken(kube: Kube, namespace: str) -> None:
    secret = token_secret(REFERENCES["cpu-on-a-claim"].job, "token")
    secret["metadata"]["namespace"] = namespace
    assert kube.create(secret)["data"] == secret["data"]


def _pods(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    """Pods as KubeRay makes them, as far as the templates go."""
    head, (workers,) = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    templates = [copy.deepcopy(g["template"]) for g in (head, workers)]
    options = cluster.get("autoscalerOptions")
    if options:
        kept = ("resources", "securityContext", "volumeMounts")
        container = {"name": "autoscaler", "image": "ray", **{k: options[k] for k in kept}}
        templates[0]["spec"]["containers"].append(container)
    pods = []
    for number, template in enumerate(templates):
        # Accounts that the namespace does not have are refused at once.
        template["spec"].pop("serviceAccountName", None)
        template["spec"].pop("priorityClassName", None)
        template["metadata"]["name"] = f"pod-{number}"
        pods.append({"apiVersion": "v1", "kind": "Pod", **template})
    return pods


def _lost(given: Any, made: Any, path: str = "") -> list[str]:
    """Paths of what was given and is not there."""
    if isinstance(given, dict):
        if not isinstance(made, dict):
            return [path]
        return [p for k, v in given.items() for p in _lost(v, made.get(k), f"{path}.{k}")]
    if isinstance(given, list):
        if not isinstance(made, list) or len(made) < len(given):
            return [path]
        return [p for i, v in enumerate(given) for p in _lost(v, made[i], f"{path}[{i}]")]
    return [] if given == made else [f"{path}: {given!r} became {made!r}"]
