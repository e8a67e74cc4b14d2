"""Who else decides a number of nodes. Two autoscalers on one number fight; we do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from astroctl.kube.client import FIELD_MANAGER, Kube, Object
from astroctl.kube.errors import Forbidden, NoSuchKind
from astroctl.kube.resources import Resource

MIN_SIZE = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-min-size"
MAX_SIZE = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-max-size"
MANAGED_BY = "cluster.x-k8s.io/replicas-managed-by"
EKS_TAG = "k8s.io/cluster-autoscaler/enabled"
HPA = Resource("autoscaling/v1", "HorizontalPodAutoscaler", "horizontalpodautoscalers")

# Tools with which people, not programs, write objects; whoever makes an object has to give a
# number. Anything else that holds `spec.replicas` keeps setting it.
_BY_HAND = (
    "before-first-apply",
    "clusterctl",
    "curl",
    "helm",
    "k9s",
    "kubectl",
    "lens",
    "mozilla",
    "openapi-generator",
    "pulumi",
    "python-requests",
    "terraform",
)


def autoscaler_bounds(obj: Object) -> tuple[int | None, int | None]:
    """The cluster-autoscaler's limits on a Cluster API object; None where one is not there."""
    annotations = obj["metadata"].get("annotations") or {}
    return _number(annotations.get(MIN_SIZE)), _number(annotations.get(MAX_SIZE))


def cluster_autoscaler(obj: Object) -> str:
    """Tells if the cluster-autoscaler owns a Cluster API object."""
    annotations = obj["metadata"].get("annotations") or {}
    found = [a for a in (MIN_SIZE, MAX_SIZE) if a in annotations]
    return f"the cluster-autoscaler sets it (annotation {found[0]})" if found else ""


def managed_outside(obj: Object) -> str:
    """Tells if a MachinePool's infrastructure sets the number, as for clouds' own autoscalers."""
    value = (obj["metadata"].get("annotations") or {}).get(MANAGED_BY)
    if value in (None, "false"):
        return ""
    return f"`{value or 'another program'}` sets it (annotation {MANAGED_BY})"


def field_manager(obj: Object, field: str = "replicas") -> str:
    """Tells if a program other than this one sets ``spec.<field>``, by the object's managed
    fields."""
    for entry in obj["metadata"].get("managedFields") or []:
        manager = str(entry.get("manager") or "")
        spec = (entry.get("fieldsV1") or {}).get("f:spec") or {}
        if f"f:{field}" not in spec or _ours(manager) or _by_hand(manager):
            continue
        return (
            f"`{manager}` sets spec.{field} (managedFields); leave the field out of what it writes"
        )
    return ""


def scaled_by_hpa(kube: Kube, obj: Object) -> str:
    """Tells if a HorizontalPodAutoscaler has the object as its target."""
    meta = obj["metadata"]
    if not meta.get("namespace"):
        return ""
    try:
        found = kube.list(HPA, meta["namespace"])
    except (Forbidden, NoSuchKind):
        return ""
    for hpa in found:
        target = hpa["spec"].get("scaleTargetRef") or {}
        if target.get("kind") == obj.get("kind") and target.get("name") == meta["name"]:
            return f"HorizontalPodAutoscaler {hpa['metadata']['name']} sets it"
    return ""


def eks_tags(tags: Mapping[str, str]) -> str:
    """Tells if the cluster-autoscaler owns an EKS node group."""
    if tags.get(EKS_TAG, "false").strip().lower() in ("", "false"):
        return ""
    return f"the cluster-autoscaler sets it (tag {EKS_TAG})"


def _ours(manager: str) -> bool:
    return manager == FIELD_MANAGER


def _by_hand(manager: str) -> bool:
    # Flux's helm-controller is a program; `helm` itself is not.
    name = manager.lower()
    return any(name.startswith(tool) for tool in _BY_HAND) and not name.endswith("-controller")


def _number(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
