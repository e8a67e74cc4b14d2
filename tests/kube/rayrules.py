"""What KubeRay's own validation refuses, as far as a stand-in needs it."""

from __future__ import annotations

import re

import yaml

from astroctl.kube.client import Object

_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LONGEST = {"RayJob": 47, "RayService": 47, "RayCluster": 53}


def problem(obj: Object) -> str | None:
    """The first thing wrong with a RayJob, or None."""
    spec, name = obj["spec"], obj["metadata"]["name"]
    return (
        name_problem("RayJob", name)
        or _suspension(spec)
        or _cluster(spec)
        or _runtime_env(spec)
        or _deadlines(spec)
    )


def name_problem(kind: str, name: str) -> str | None:
    """What is wrong with a name."""
    if len(name) > _LONGEST[kind]:
        return f"{kind} name should be no more than {_LONGEST[kind]} characters"
    if not _DNS_1035.fullmatch(name):
        return f"{kind} name should be a valid DNS1035 label"
    return None


def _suspension(spec: Object) -> str | None:
    shutdown = spec.get("shutdownAfterJobFinishes")
    if spec.get("suspend") and not shutdown:
        return "a RayJob with shutdownAfterJobFinishes set to false is not allowed to be suspended"
    if spec.get("suspend") and spec.get("clusterSelector"):
        return "the ClusterSelector mode doesn't support the suspend operation"
    if (spec.get("ttlSecondsAfterFinished") or 0) > 0 and not shutdown:
        return "a RayJob with shutdownAfterJobFinishes set to false cannot have a TTL"
    return None


def _cluster(spec: Object) -> str | None:
    cluster = spec.get("rayClusterSpec")
    if bool(cluster) == bool(spec.get("clusterSelector")):
        return "exactly one of RayClusterSpec or ClusterSelector must be set"
    if not cluster:
        return None
    groups = cluster.get("workerGroupSpecs") or []
    for group in [cluster["headGroupSpec"], *groups]:
        if not ((group.get("template") or {}).get("spec") or {}).get("containers"):
            return "a group should have at least one container"
    for group in groups:
        least, most = group.get("minReplicas"), group.get("maxReplicas")
        if not cluster.get("enableInTreeAutoscaling") and (least is None or most is None):
            return "minReplicas and maxReplicas must be set when autoscaling is disabled"
        if least is not None and most is not None and least > most:
            return "minReplicas must not be above maxReplicas"
    if (cluster.get("authOptions") or {}).get("mode") == "token" and not cluster.get("rayVersion"):
        return "authOptions.mode is token but rayVersion was not specified"
    return None


def _runtime_env(spec: Object) -> str | None:
    try:
        yaml.safe_load(spec.get("runtimeEnvYAML") or "")
    except yaml.YAMLError as error:
        return f"failed to unmarshal RuntimeEnvYAML: {error}"
    return None


def _deadlines(spec: Object) -> str | None:
    for field in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        if spec.get(field) is not None and spec[field] <= 0:
            return f"{field} must be a positive integer"
    if (spec.get("backoffLimit") or 0) < 0:
        return "backoffLimit must be a positive integer"
    return None
