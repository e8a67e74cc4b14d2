"""Which nodes could take a pod: what the scheduler looks at before it looks for free room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from astroctl.controller.why.facts import Object
from astroctl.controller.why.objects import gpu_resources, holds, quantity, request

_HARD = ("NoSchedule", "NoExecute")
# Taints of nodes that come or go; they pass by themselves.
_PASSING = (
    "node.kubernetes.io/",
    "node.cloudprovider.kubernetes.io/",
    "node.cilium.io/",
    "karpenter.sh/",
    "ToBeDeletedByClusterAutoscaler",
)


@dataclass
class Match:
    """Nodes, by what keeps a pod from them.

    Attributes:
        total: How many were looked at.
        unselected: Without the labels that the pod asks for.
        large: Selected ones that could hold the pod if they were empty.
        closed: Of the large ones, those not ready, cordoned, coming or going.
        tainted: Of the large ones that are open, how many have each taint that is not tolerated.
        open: Large, open and tolerated: only other pods can be in the way.
        largest: The most that any selected node has of each resource.
    """

    total: int = 0
    unselected: int = 0
    large: int = 0
    closed: int = 0
    tainted: Counter[str] = field(default_factory=Counter)
    open: int = 0
    largest: dict[str, float] = field(default_factory=dict)


def match(pod: Object, nodes: Sequence[Object]) -> Match:
    """Sort nodes by what keeps a pod from them."""
    made = Match(total=len(nodes))
    wanted = requests(pod)
    for node in nodes:
        if not selects(pod, node):
            made.unselected += 1
            continue
        has = (node.get("status") or {}).get("allocatable") or {}
        for resource in wanted:
            most = max(made.largest.get(resource, 0.0), quantity(has.get(resource, 0)))
            made.largest[resource] = most
        if any(quantity(has.get(r, 0)) < value for r, value in wanted.items()):
            continue
        made.large += 1
        if _closed(node):
            made.closed += 1
        elif taint := untolerated(pod, node):
            made.tainted[taint] += 1
        else:
            made.open += 1
    return made


def requests(pod: Object) -> dict[str, float]:
    """What a pod asks for of GPUs, memory and CPU."""
    found = {r: request(pod, r) for r in (*gpu_resources(pod), "memory", "cpu")}
    return {r: value for r, value in found.items() if value}


def untolerated(pod: Object, node: Object) -> str:
    """A taint of the node that the pod does not tolerate, as ``key=value``; empty if none."""
    tolerations = (pod.get("spec") or {}).get("tolerations") or []
    for taint in _hard_taints(node):
        if _passes(taint):
            continue
        if not any(_tolerates(t, taint) for t in tolerations):
            value = taint.get("value")
            return f"{taint.get('key')}={value}" if value else str(taint.get("key"))
    return ""


def _closed(node: Object) -> bool:
    """Whether a node takes no pods now, whatever they tolerate."""
    if (node.get("spec") or {}).get("unschedulable") or not holds(node, "Ready"):
        return True
    return any(_passes(t) for t in _hard_taints(node))


def _hard_taints(node: Object) -> list[Object]:
    taints = (node.get("spec") or {}).get("taints") or []
    return [t for t in taints if t.get("effect") in _HARD]


def _passes(taint: Object) -> bool:
    return str(taint.get("key")).startswith(_PASSING)


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("key") not in (None, "", taint.get("key")):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(
        toleration.get("key") and (toleration.get("value") or "") == (taint.get("value") or "")
    )


def selects(pod: Object, node: Object) -> bool:
    """Whether a node has the labels that a pod asks for, by selector and required affinity."""
    spec, labels = pod.get("spec") or {}, node["metadata"].get("labels") or {}
    if any(labels.get(k) != v for k, v in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = required.get("nodeSelectorTerms")
    if not terms:
        return True
    return any(
        all(_expression(e, labels) for e in t.get("matchExpressions") or []) for t in terms if t
    )


def _expression(expression: Object, labels: Object) -> bool:
    has, values = labels.get(expression["key"]), expression.get("values") or []
    operator = expression.get("operator")
    if operator == "In":
        return has in values
    if operator == "NotIn":
        return has not in values
    if operator == "Exists":
        return has is not None
    if operator == "DoesNotExist":
        return has is None
    if operator in ("Gt", "Lt") and has is not None and values:
        more, less = (has, values[0]) if operator == "Gt" else (values[0], has)
        return quantity(more) > quantity(less)
    return False
