"""The linter's rules for pod templates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from astroctl.render import quantity
from astroctl.render.problems import Problem

Object = dict[str, Any]
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_LABEL_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
# KubeRay writes these; a value of ours would break the cluster.
_KUBERAY_VARIABLES = (
    "RAY_CLUSTER_NAME",
    "RAY_CLUSTER_NAMESPACE",
    "RAY_CLOUD_INSTANCE_ID",
    "RAY_NODE_TYPE_NAME",
    "KUBERAY_GEN_RAY_START_CMD",
)


def check_labels(labels: dict[str, Any], path: str) -> Iterator[Problem]:
    """Problems of labels: the API server would refuse the pods, not the cluster."""
    for key, value in labels.items():
        prefix, slash, name = str(key).rpartition("/")
        if not _LABEL_NAME.fullmatch(name) or (slash and not _LABEL_PREFIX.fullmatch(prefix)):
            yield Problem(f"{path}[{key}]", "not a label's key")
        if not isinstance(value, str) or not _LABEL_VALUE.fullmatch(value):
            yield Problem(
                f"{path}[{key}]",
                f"{value!r} is not a label's value",
                "at most 63 letters, digits, `-`, `_` and `.`",
            )


def check_pod(pod: Object, path: str) -> Iterator[Problem]:
    """Problems of a pod's spec: KubeRay takes the cluster, and cannot make its pods."""
    volumes = [str(v.get("name")) for v in pod.get("volumes") or []]
    for name in sorted({v for v in volumes if volumes.count(v) > 1}):
        yield Problem(f"{path}.volumes", f"`{name}` is there twice")
    container, where = pod["containers"][0], f"{path}.containers[0]"
    paths = [str(m.get("mountPath")) for m in container.get("volumeMounts") or []]
    for mount in sorted({p for p in paths if paths.count(p) > 1}):
        yield Problem(f"{where}.volumeMounts", f"two volumes are mounted at {mount}")
    for mount in container.get("volumeMounts") or []:
        if mount.get("name") not in volumes:
            yield Problem(f"{where}.volumeMounts", f"there is no volume `{mount.get('name')}`")
    yield from _variables(container, where)
    yield from _resources(container, where)
    yield from _shared_memory(pod, container, path)


def _variables(container: Object, path: str) -> Iterator[Problem]:
    names = [str(e.get("name")) for e in container.get("env") or []]
    for name in sorted({n for n in names if names.count(n) > 1}):
        yield Problem(f"{path}.env", f"`{name}` is there twice")
    for name in names:
        if name in _KUBERAY_VARIABLES:
            yield Problem(f"{path}.env", f"`{name}` is KubeRay's to set", "leave it out")


def _resources(container: Object, path: str) -> Iterator[Problem]:
    resources = container.get("resources") or {}
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for name, limit in limits.items():
        asked = requests.get(name, limit)
        try:
            wanted, most = _number(name, asked), _number(name, limit)
        except ValueError:
            yield Problem(f"{path}.resources", f"{name}: {asked!r}, {limit!r}: no quantity")
            continue
        if wanted > most:
            yield Problem(f"{path}.resources.requests", f"{name}: {asked} is above limit {limit}")
        if "/" in name and wanted != most:
            yield Problem(
                f"{path}.resources.requests",
                f"{name}: {asked} differs from limit {limit}",
                "extended resources are not shared",
            )
    for name in requests:
        if "/" in name and name not in limits:
            yield Problem(f"{path}.resources.limits", f"{name} needs a limit")


def _number(name: str, value: Any) -> float:
    parse = quantity.parse_cores if name == "cpu" else quantity.parse_memory
    return float(parse(value))


def _shared_memory(pod: Object, container: Object, path: str) -> Iterator[Problem]:
    """Pages in /dev/shm count as the container's memory."""
    limit = ((container.get("resources") or {}).get("limits") or {}).get("memory")
    mounted = {
        m.get("name") for m in container.get("volumeMounts") or [] if m["mountPath"] == "/dev/shm"
    }
    for volume in pod.get("volumes") or []:
        size = (volume.get("emptyDir") or {}).get("sizeLimit")
        if volume.get("name") not in mounted or size is None or limit is None:
            continue
        try:
            too_large = quantity.parse_memory(size) >= quantity.parse_memory(limit)
        except ValueError:
            continue
        if too_large:
            yield Problem(
                f"{path}.volumes[{volume['name']}].emptyDir.sizeLimit",
                f"shared memory of {size} leaves nothing of the memory limit of {limit}",
                "lower cluster.kubernetes.sharedMemory, or raise resourcesPerWorker.memory",
            )
