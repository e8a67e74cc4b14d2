"""Whether pods accept the nodes of a pool: labels and taints, as the scheduler compares them.

A pool that has nodes is judged by them; an empty one by what its spec says of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from astroctl.kube.client import Object
from astroctl.render.placement import pool_selector
from astrosage.spec.pool import GPUNodePool

_REPELS = ("NoSchedule", "NoExecute")
# Taints of nodes that are not ready or are being removed; they go away, or the node does.
_PASSING = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/", "karpenter.sh/")
# Labels that name the kind of GPU, which an empty pool knows by `accelerator` only.
_GPU_KINDS = (
    "nvidia.com/gpu.product",
    "cloud.google.com/gke-accelerator",
    "karpenter.k8s.aws/instance-gpu-name",
    "k8s.amazonaws.com/accelerator",
)


@dataclass(frozen=True, slots=True)
class NodeKind:
    """What the nodes of a pool show to pods.

    Attributes:
        labels: Labels that all of them have.
        taints: Key, value and effect of each; the value None is unknown.
        complete: Whether labels are known from nodes; else others may be there.
        accelerator: The kind of GPU.
    """

    labels: Mapping[str, str]
    taints: tuple[tuple[str, str | None, str], ...]
    complete: bool
    accelerator: str = ""


def node_kind(pool: GPUNodePool, nodes: Iterable[Object] = ()) -> NodeKind:
    """What the nodes of a pool show.

    Args:
        pool: The pool.
        nodes: Its nodes, if it has any.
    """
    selector, found = pool_selector(pool), list(nodes)
    accelerator = pool.spec.accelerator or ""
    if found:
        common = dict(found[0]["metadata"].get("labels") or {})
        for node in found[1:]:
            labels = node["metadata"].get("labels") or {}
            common = {k: v for k, v in common.items() if labels.get(k) == v}
        return NodeKind({**common, **selector}, _common_taints(found), True, accelerator)
    taints = tuple(
        (t.key, t.value if t.operator == "Equal" else None, effect)
        for t in pool.spec.tolerations
        if t.key
        for effect in ([t.effect] if t.effect else ["NoSchedule"])
        if effect in _REPELS
    )
    return NodeKind(selector, taints, False, accelerator)


def accepts(spec: Object, kind: NodeKind) -> bool:
    """Whether a pod of this spec may run on such nodes."""
    return (
        all(_label_is(kind, k, [v]) for k, v in (spec.get("nodeSelector") or {}).items())
        and _affinity_holds(spec, kind)
        and all(_tolerated(spec.get("tolerations") or [], t) for t in kind.taints)
    )


def _affinity_holds(spec: Object, kind: NodeKind) -> bool:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    return any(
        all(_expression_holds(e, kind) for e in term.get("matchExpressions") or [])
        for term in required.get("nodeSelectorTerms") or []
    )


def _expression_holds(expression: Mapping[str, Any], kind: NodeKind) -> bool:
    key, values = expression["key"], [str(v) for v in expression.get("values") or []]
    match expression["operator"]:
        case "In":
            return _label_is(kind, key, values)
        case "NotIn":
            return not (key in kind.labels and kind.labels[key] in values)
        case "Exists":
            return key in kind.labels or _is_gpu_kind(kind, key)
        case "DoesNotExist":
            return key not in kind.labels
        case comparison:
            try:
                there, limit = int(kind.labels[key]), int(values[0])
            except (KeyError, ValueError, IndexError):
                return False
            return there > limit if comparison == "Gt" else there < limit


def _label_is(kind: NodeKind, key: str, values: list[str]) -> bool:
    if key in kind.labels:
        return kind.labels[key] in values
    if not _is_gpu_kind(kind, key):
        return False
    short = kind.accelerator.lower()
    return any(short in _parts(v) or short == v.lower() for v in values)


def _is_gpu_kind(kind: NodeKind, key: str) -> bool:
    return not kind.complete and bool(kind.accelerator) and key in _GPU_KINDS


def _parts(product: str) -> list[str]:
    return product.lower().replace("_", "-").split("-")


def _common_taints(nodes: list[Object]) -> tuple[tuple[str, str | None, str], ...]:
    found: set[tuple[str, str | None, str]] | None = None
    for node in nodes:
        mine: set[tuple[str, str | None, str]] = {
            (t["key"], str(t.get("value") or ""), t["effect"])
            for t in (node.get("spec") or {}).get("taints") or []
            if t["effect"] in _REPELS and not t["key"].startswith(_PASSING)
        }
        found = mine if found is None else found & mine
    return tuple(sorted(found or ()))


def _tolerated(
    tolerations: Iterable[Mapping[str, Any]], taint: tuple[str, str | None, str]
) -> bool:
    key, value, effect = taint
    for toleration in tolerations:
        if toleration.get("effect") not in (None, "", effect):
            continue
        if not toleration.get("key"):
            if toleration.get("operator") == "Exists":
                return True
            continue
        if toleration["key"] != key:
            continue
        if toleration.get("operator") == "Exists" or value is None:
            return True
        if str(toleration.get("value") or "") == value:
            return True
    return False
