"""The linter's rules for a Ray cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from astroctl.render.pod_rules import check_labels, check_pod
from astroctl.render.problems import Problem

Object = dict[str, Any]
_START_RESOURCES = ("num-cpus", "num-gpus", "memory", "resources")
_FT_ANNOTATION = "ray.io/ft-enabled"
_NAMESPACE_ANNOTATION = "ray.io/external-storage-namespace"
_AUTOSCALER_VARIABLE = "RAY_enable_autoscaler_v2"


def check_cluster(spec: Object, path: str, annotations: dict[str, str]) -> Iterator[Problem]:
    """Problems of a ``rayClusterSpec``.

    Args:
        spec: The spec.
        path: Where it stands.
        annotations: Of the object that it stands in.
    """
    head = spec.get("headGroupSpec") or {}
    groups = spec.get("workerGroupSpecs") or []
    yield from _group(head, f"{path}.headGroupSpec")
    names: set[str] = set()
    for index, group in enumerate(groups):
        where = f"{path}.workerGroupSpecs[{index}]"
        yield from _group(group, where)
        name = group.get("groupName")
        if not name or name in names:
            yield Problem(
                f"{where}.groupName", "required, but missing" if not name else "not unique"
            )
        names.add(str(name))
    yield from _autoscaling(spec, head, groups, path)
    yield from _token(spec, path)
    yield from _fault_tolerance(spec, head, path, annotations)


def _group(group: Object, path: str) -> Iterator[Problem]:
    parameters = group.get("rayStartParams") or {}
    if group.get("resources") and any(parameters.get(p) for p in _START_RESOURCES):
        yield Problem(
            f"{path}.resources",
            "cannot be used with resources in rayStartParams",
            "use one of them",
        )
    if "labels" in parameters:
        yield Problem(f"{path}.rayStartParams.labels", "not supported", f"use {path}.labels")
    yield from check_labels(group.get("labels") or {}, f"{path}.labels")
    template = group.get("template") or {}
    where = f"{path}.template"
    metadata, pod = template.get("metadata") or {}, template.get("spec") or {}
    yield from check_labels(metadata.get("labels") or {}, f"{where}.metadata.labels")
    if not pod.get("containers"):
        yield Problem(f"{where}.spec.containers", "at least one container is needed")
        return
    yield from check_pod(pod, f"{where}.spec")


def _autoscaling(spec: Object, head: Object, groups: list[Object], path: str) -> Iterator[Problem]:
    enabled = bool(spec.get("enableInTreeAutoscaling"))
    options = spec.get("autoscalerOptions") or {}
    chosen = _variable(head, _AUTOSCALER_VARIABLE)
    if not enabled and str(chosen).lower() in ("1", "true"):
        yield Problem(
            f"{path}.enableInTreeAutoscaling", f"must be true where {_AUTOSCALER_VARIABLE} is set"
        )
    if enabled and options.get("version") and chosen is not None:
        yield Problem(
            f"{path}.autoscalerOptions.version", f"is set, and {_AUTOSCALER_VARIABLE} too"
        )
    second = enabled and _is_v2(spec, options, chosen)
    for index, group in enumerate(groups):
        where = f"{path}.workerGroupSpecs[{index}]"
        yield from _replicas(group, enabled, where)
        if enabled and group.get("suspend"):
            yield Problem(f"{where}.suspend", "cannot be used with autoscaling")
        if group.get("idleTimeoutSeconds") is not None and not second:
            yield Problem(f"{where}.idleTimeoutSeconds", "needs autoscaler v2")
        if group.get("priority") is not None and not (second and _version(spec) >= (2, 56)):
            yield Problem(f"{where}.priority", "needs autoscaler v2 and Ray 2.56")
        if second:
            yield from _never_restarted(group, where)
    if second:
        yield from _never_restarted(head, f"{path}.headGroupSpec")


def _is_v2(spec: Object, options: Object, chosen: Any) -> bool:
    if options.get("version"):
        return bool(options["version"] == "v2")
    if chosen is not None:
        return str(chosen).lower() in ("1", "true")
    return _version(spec) >= (2, 47)


def _never_restarted(group: Object, path: str) -> Iterator[Problem]:
    policy = ((group.get("template") or {}).get("spec") or {}).get("restartPolicy")
    if policy not in (None, "", "Never"):
        yield Problem(
            f"{path}.template.spec.restartPolicy", f"must be Never with autoscaler v2, is {policy}"
        )


def _replicas(group: Object, autoscaling: bool, path: str) -> Iterator[Problem]:
    least, most = group.get("minReplicas"), group.get("maxReplicas")
    if not autoscaling and (least is None or most is None):
        yield Problem(path, "minReplicas and maxReplicas are needed without autoscaling")
    for name in ("replicas", "minReplicas", "maxReplicas"):
        if (group.get(name) or 0) < 0:
            yield Problem(f"{path}.{name}", f"{group[name]} is below 0")
    if least is not None and most is not None and least > most:
        yield Problem(f"{path}.minReplicas", f"{least} is above maxReplicas {most}")
    wanted = group.get("replicas")
    if wanted is not None and not (least or 0) <= wanted <= (wanted if most is None else most):
        yield Problem(f"{path}.replicas", f"{wanted} is outside of {least} to {most}")


def _token(spec: Object, path: str) -> Iterator[Problem]:
    options = spec.get("authOptions") or {}
    if options.get("mode") != "token":
        return
    version = str(spec.get("rayVersion") or "")
    if not re.match(r"[0-9]+\.[0-9]+", version):
        yield Problem(f"{path}.rayVersion", f"token authentication needs one, found `{version}`")
    elif _version(spec) < (2, 52):
        yield Problem(f"{path}.rayVersion", f"token authentication needs 2.52.0, found {version}")
    if options.get("enableK8sTokenAuth") and _version(spec) < (2, 55):
        yield Problem(f"{path}.rayVersion", "Kubernetes token authentication needs 2.55.0")


def _version(spec: Object) -> tuple[int, int]:
    found = re.match(r"([0-9]+)\.([0-9]+)", str(spec.get("rayVersion") or ""))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _fault_tolerance(
    spec: Object, head: Object, path: str, annotations: dict[str, str]
) -> Iterator[Problem]:
    options, where = spec.get("gcsFaultToleranceOptions"), f"{path}.gcsFaultToleranceOptions"
    parameters = head.get("rayStartParams") or {}
    address = _variable(head, "RAY_REDIS_ADDRESS") is not None
    if annotations.get(_FT_ANNOTATION) and options is not None:
        yield Problem(where, f"cannot be used with the annotation {_FT_ANNOTATION}")
    if options is None and address and annotations.get(_FT_ANNOTATION, "").lower() != "true":
        yield Problem(where, "required where the head has RAY_REDIS_ADDRESS")
    if parameters.get("redis-username") or _variable(head, "REDIS_USERNAME") is not None:
        yield Problem(f"{where}.redisUsername", "a user name for Redis belongs here")
    if options is None:
        return
    if parameters.get("redis-password") or _variable(head, "REDIS_PASSWORD") is not None:
        yield Problem(f"{where}.redisPassword", "a password for Redis belongs here")
    if address:
        yield Problem(f"{where}.redisAddress", "the address of Redis belongs here")
    if annotations.get(_NAMESPACE_ANNOTATION):
        yield Problem(f"{where}.externalStorageNamespace", "the namespace belongs here")


def _variable(group: Object, name: str) -> Any:
    """A variable's value in a group's first container; None if it is not there."""
    containers = ((group.get("template") or {}).get("spec") or {}).get("containers") or [{}]
    for entry in containers[0].get("env") or []:
        if entry.get("name") == name:
            return entry.get("value") or ""
    return None
