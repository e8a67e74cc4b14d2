"""The linter's rules for a RayService."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from astroctl.render.cluster_rules import check_cluster
from astroctl.render.problems import Problem

Object = dict[str, Any]
_UPGRADES = ("NewCluster", "NewClusterWithIncrementalUpgrade", "None")
_DURATION = re.compile(r"([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+|[0-9]+")
_TIMEOUT_ANNOTATION = "ray.io/initializing-timeout"


def check_service(manifest: Object) -> Iterator[Problem]:
    """Problems of a RayService, its name left out."""
    spec = manifest.get("spec") or {}
    annotations = manifest.get("metadata", {}).get("annotations") or {}
    yield from _initializing(annotations)
    cluster = spec.get("rayClusterConfig")
    if cluster is None:
        yield Problem("spec.rayClusterConfig", "required, but missing")
        return
    yield from check_cluster(cluster, "spec.rayClusterConfig", annotations)
    head_service = cluster.get("headGroupSpec", {}).get("headService") or {}
    if (head_service.get("metadata") or {}).get("name"):
        yield Problem(
            "spec.rayClusterConfig.headGroupSpec.headService.metadata.name", "not allowed"
        )
    if cluster.get("upgradeStrategy"):
        yield Problem("spec.rayClusterConfig.upgradeStrategy", "a RayService's cluster has none")
    if (cluster.get("authOptions") or {}).get("enableK8sTokenAuth"):
        yield Problem(
            "spec.rayClusterConfig.authOptions.enableK8sTokenAuth", "a RayService cannot use it"
        )
    if (spec.get("rayClusterDeletionDelaySeconds") or 0) < 0:
        yield Problem("spec.rayClusterDeletionDelaySeconds", "below 0")
    yield from _serve_config(spec)
    yield from _upgrade(spec, cluster)


def _initializing(annotations: dict[str, str]) -> Iterator[Problem]:
    text = annotations.get(_TIMEOUT_ANNOTATION, "")
    if text and (not _DURATION.fullmatch(text) or not re.search("[1-9]", text)):
        yield Problem(
            f"metadata.annotations[{_TIMEOUT_ANNOTATION}]",
            f"`{text}` is no time above 0",
            "write 30m, 1h or seconds",
        )


def _serve_config(spec: Object) -> Iterator[Problem]:
    try:
        found = yaml.safe_load(spec.get("serveConfigV2") or "")
    except yaml.YAMLError:
        yield Problem("spec.serveConfigV2", "not valid YAML")
        return
    if not isinstance(found, dict) or not found.get("applications"):
        yield Problem("spec.serveConfigV2", "needs `applications`")


def _upgrade(spec: Object, cluster: Object) -> Iterator[Problem]:
    strategy = spec.get("upgradeStrategy") or {}
    kind, path = strategy.get("type"), "spec.upgradeStrategy"
    if kind is not None and kind not in _UPGRADES:
        yield Problem(f"{path}.type", f"`{kind}`; possible: {', '.join(_UPGRADES)}")
    if kind != "NewClusterWithIncrementalUpgrade":
        return
    if not cluster.get("enableInTreeAutoscaling"):
        yield Problem(f"{path}.type", "an incremental upgrade needs autoscaling")
    options, path = strategy.get("clusterUpgradeOptions"), f"{path}.clusterUpgradeOptions"
    if options is None:
        yield Problem(path, "required, but missing")
        return
    surge, step = options.get("maxSurgePercent", 100), options.get("stepSizePercent")
    for name, value in (("maxSurgePercent", surge), ("stepSizePercent", step)):
        if value is None or not 0 <= value <= 100:
            yield Problem(f"{path}.{name}", f"0 to 100 is needed, found {value}")
    if step is not None and step > surge:
        yield Problem(f"{path}.stepSizePercent", f"{step} is above maxSurgePercent {surge}")
    if (options.get("intervalSeconds") or 0) <= 0:
        yield Problem(f"{path}.intervalSeconds", "must be above 0")
    if not options.get("gatewayClassName"):
        yield Problem(f"{path}.gatewayClassName", "required, but missing")
