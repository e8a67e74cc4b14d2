"""Pods that no node has taken: wrong nodes, no nodes, nodes under way, or no room."""

from __future__ import annotations

from collections.abc import Sequence

from astroctl.controller.why import autoscaler, kuberay, pools, reasons
from astroctl.controller.why.facts import CapacityFacts, Finding, Object, found
from astroctl.controller.why.nodes import Match, match, requests
from astroctl.controller.why.objects import (
    HEAD,
    age,
    amount,
    created,
    gpu_resources,
    head_first,
    is_gpu,
    one_line,
    role,
    said_by_scheduler,
    unscheduled,
)
from astroctl.controller.why.reasons import Reason
from astroctl.controller.why.said import Said, read

_SCHEDULER_PATIENCE = 60.0
_RESOURCES: tuple[tuple[str, Reason], ...] = (
    ("memory", reasons.INSUFFICIENT_MEMORY),
    ("cpu", reasons.INSUFFICIENT_CPU),
)


def explain(facts: CapacityFacts) -> Finding | None:
    """Why pods have no node; the head's before the workers', since nothing starts without it."""
    pods = head_first(facts.pods)
    waiting = [p for p in pods if unscheduled(p)]
    if not waiting:
        return None
    head = role(waiting[0]) == HEAD
    waiting = [p for p in waiting if (role(p) == HEAD) == head]
    whom = "the head pod waits" if head else _workers(facts, pods, waiting)
    pod = next((p for p in waiting if said_by_scheduler(p)), waiting[0])
    condition = said_by_scheduler(pod)
    if condition is None:
        return _not_looked_at(facts, pod, whom)
    since = str(condition.get("lastTransitionTime") or created(pod))
    if condition.get("reason") == "SchedulingGated":
        return _gated(pod, whom, since)
    return _placed(facts, pod, waiting, whom, head, since)


def _placed(
    facts: CapacityFacts, pod: Object, waiting: Sequence[Object], whom: str, head: bool, since: str
) -> Finding | None:
    said = read(str((said_by_scheduler(pod) or {}).get("message") or ""))
    seen = match(pod, facts.nodes) if facts.nodes is not None else None
    pooled = facts.pool is not None and not head
    finding = (
        (_tainted(seen, said, pod, whom) if seen else None)
        or (pools.explain(facts, waiting, whom) if pooled else None)
        or autoscaler.explain(facts, pod, whom)
        or _gang(said, whom)
        or _unselected(seen, said, pod, whom)
        or _no_room(facts, seen, said, pod, whom)
    )
    return finding if finding.since else _with_since(finding, since)


def _with_since(finding: Finding, since: str) -> Finding:
    return Finding(finding.reason, finding.message, finding.hint, since, finding.passes)


def _workers(facts: CapacityFacts, pods: Sequence[Object], waiting: Sequence[Object]) -> str:
    there = sum(role(p) != HEAD for p in pods)
    total = max(there, kuberay.desired_workers(facts))
    return f"{len(waiting)} of {total} worker pods wait"


def _not_looked_at(facts: CapacityFacts, pod: Object, whom: str) -> Finding | None:
    if age(facts, created(pod)) < _SCHEDULER_PATIENCE:
        return None
    scheduler = (pod.get("spec") or {}).get("schedulerName") or "default-scheduler"
    message = f"{whom}: scheduler {scheduler} has not looked at it for a minute"
    hint = f"is {scheduler} installed and running? `cluster.kubernetes.scheduler` chooses it"
    return found(reasons.UNSCHEDULABLE, message, hint, created(pod), passes=False)


def _gated(pod: Object, whom: str, since: str) -> Finding:
    gates = [str(g.get("name")) for g in (pod.get("spec") or {}).get("schedulingGates") or []]
    held = ", ".join(gates) or "a scheduling gate"
    message = f"{whom}: {held} holds the scheduler back"
    return found(reasons.WAITING_FOR_ADMISSION, message, since=since)


def _tainted(seen: Match, said: Said, pod: Object, whom: str) -> Finding | None:
    """Nodes that could hold the pod are all kept for others."""
    if seen.open or not seen.tainted:
        return None
    taints = ", ".join(f"{n} are tainted {t}" for t, n in seen.tainted.most_common(4))
    message = f"{whom}: of {seen.large} nodes that could hold one ({_size(pod)}), {taints}"
    if seen.closed:
        message += f", {seen.closed} are cordoned or not ready"
    return found(reasons.UNTOLERATED_TAINT, message)


def _gang(said: Said, whom: str) -> Finding | None:
    if not said.gang:
        return None
    message = f"{whom} for the gang scheduler: {one_line(said.text)}"
    return found(reasons.WAITING_FOR_GANG, message)


def _unselected(seen: Match | None, said: Said, pod: Object, whom: str) -> Finding | None:
    """No node has the labels asked for."""
    labels = _labels(pod)
    nothing = said.total is not None and 0 < said.total == said.unselected
    if seen is not None and labels:
        nothing = nothing or seen.unselected == seen.total
    if not nothing:
        return None
    asked = labels or "the labels asked for"
    message = f"{whom}: none of {said.total or 0} nodes has {asked}"
    return found(reasons.NODE_SELECTOR_MATCHES_NOTHING, message)


def _labels(pod: Object) -> str:
    spec = pod.get("spec") or {}
    asked = [f"{k}={v}" for k, v in sorted((spec.get("nodeSelector") or {}).items())]
    if (spec.get("affinity") or {}).get("nodeAffinity"):
        asked.append("what its node affinity requires")
    return ", ".join(asked)


def _no_room(
    facts: CapacityFacts, seen: Match | None, said: Said, pod: Object, whom: str
) -> Finding:
    reason, resource = _short_of(seen, said, pod)
    others = _others(said, resource) + autoscaler.refusal(facts, pod)
    if resource is None:
        if said.tainted and not said.insufficient:
            message = f"{whom}: of {said.total} nodes, {_parts(said)}"
            return found(reasons.UNTOLERATED_TAINT, message + autoscaler.refusal(facts, pod))
        text = one_line(said.text) or "no reason given"
        return found(reason, f"{whom}: {text}{autoscaler.refusal(facts, pod)}")
    wants = amount(resource, requests(pod).get(resource, 0.0))
    if seen is not None and not seen.large and seen.total > seen.unselected:
        most = amount(resource, seen.largest.get(resource, 0.0))
        message = f"{whom}: a pod asks for {wants}, and the largest node has {most}"
        return found(reason, message + others, passes=False)
    message = f"{whom}: {_of(said)}have {wants.replace(' ', ' free ', 1)}"
    if resource == "memory":
        message = f"{whom}: {_of(said)}have {wants} free"
    return found(reason, message + others)


def _of(said: Said) -> str:
    return f"0/{said.total} nodes " if said.total is not None else "no nodes "


def _short_of(seen: Match | None, said: Said, pod: Object) -> tuple[Reason, str | None]:
    """What is lacking most: what no node has at all, then GPUs, memory, CPU."""
    if seen is not None and not seen.large and seen.total > seen.unselected:
        for resource, value in requests(pod).items():
            if seen.largest.get(resource, 0.0) < value:
                return _reason(resource), resource
    gpus = [r for r in said.insufficient if is_gpu(r)]
    if gpus:
        return reasons.INSUFFICIENT_GPU, gpus[0]
    for resource, reason in _RESOURCES:
        if resource in said.insufficient:
            return reason, resource
    return reasons.UNSCHEDULABLE, None


def _reason(resource: str) -> Reason:
    return dict(_RESOURCES).get(resource, reasons.INSUFFICIENT_GPU)


def _others(said: Said, shown: str | None) -> str:
    parts = _parts(said, shown)
    return f"; {parts}" if parts else ""


def _parts(said: Said, shown: str | None = None) -> str:
    parts = []
    if said.tainted:
        which = f"tainted {', '.join(dict.fromkeys(said.taints))}" if said.taints else "tainted"
        parts.append(f"{said.tainted} are {which}")
    if said.unselected:
        parts.append(f"{said.unselected} lack the labels asked for")
    if said.closed:
        parts.append(f"{said.closed} are cordoned")
    parts += [f"{n} lack {r}" for r, n in said.insufficient.items() if r != shown]
    return "; ".join([*parts, *said.others])


def _size(pod: Object) -> str:
    wanted = requests(pod)
    gpus = gpu_resources(pod)
    shown = gpus or [r for r in ("cpu", "memory") if r in wanted]
    return ", ".join(amount(r, wanted[r]) for r in shown if r in wanted)
