"""Pods that have a node and are not ready: images being pulled, probes, the way to the head."""

from __future__ import annotations

from astroctl.controller.why import kuberay, queue, reasons
from astroctl.controller.why.facts import CapacityFacts, Finding, Object, found
from astroctl.controller.why.objects import (
    HEAD,
    WORKER,
    age,
    at,
    condition,
    containers,
    created,
    events_of,
    head_first,
    last_seen,
    name,
    one_line,
    phase,
    ready,
    role,
    started,
    unscheduled,
)
from astroctl.kube.times import timestamp

_REACH_SECONDS = 120.0


def is_ready(facts: CapacityFacts) -> Finding | None:
    """The job has what it needs: its driver runs, and enough workers."""
    told, cluster = kuberay.status(facts), kuberay.cluster_status(facts)
    if told.get("jobStatus") != "RUNNING":
        return None
    workers, wanted = int(cluster.get("readyWorkerReplicas") or 0), kuberay.desired_workers(facts)
    if workers < kuberay.needed_workers(facts):
        return None
    message = f"the driver runs, and {workers} of {wanted} worker pods are ready"
    return found(reasons.READY, message, "", str(told.get("startTime") or ""))


def pulling(facts: CapacityFacts) -> Finding | None:
    """A node pulls an image."""
    pods = [p for p in head_first(facts.pods) if not unscheduled(p) and not ready(p)]
    for pod in pods:
        if started(pod):
            continue
        newest = events_of(facts.events, pod, "Pulling", "Pulled", "Failed")[:1]
        if newest and newest[0].get("reason") == "Pulling":
            since = last_seen(newest[0])
            alike = sum(role(p) == role(pod) and not started(p) for p in pods)
            who = "the head pod waits" if role(pod) == HEAD else f"{alike} worker pods wait"
            message = (
                f"{who} for an image on node {_node(pod)}: "
                f"{one_line(newest[0].get('message') or 'pulling')}, since {at(since)}"
            )
            return found(reasons.PULLING_IMAGE, message, "", timestamp(since) if since else "")
    return None


def not_ready(facts: CapacityFacts) -> Finding | None:
    """Pods run and do not answer yet."""
    pods = head_first(facts.pods)
    head = next((p for p in pods if role(p) == HEAD), None)
    workers = [p for p in pods if role(p) == WORKER]
    if head is not None and phase(head) == "Running" and not ready(head):
        return _head(facts, head)
    if head is not None and ready(head):
        late = [p for p in workers if not ready(p) and not unscheduled(p)]
        return _unreachable(facts, head, late) or _workers(facts, late)
    return None


def _head(facts: CapacityFacts, head: Object) -> Finding:
    since = str((head.get("status") or {}).get("startTime") or created(head))
    probe = events_of(facts.events, head, "Unhealthy")[:1]
    said = f": {one_line(probe[0].get('message') or '', 200)}" if probe else ""
    message = f"head pod {name(head)} runs since {at(since)} and is not ready{said}"
    return found(reasons.HEAD_NOT_READY, message, since=since)


def _unreachable(facts: CapacityFacts, head: Object, late: list[Object]) -> Finding | None:
    """KubeRay's init container in each worker waits until the head answers."""
    stuck = [p for p in late if _waits_for_head(p)]
    since = str((condition(head, "Ready") or {}).get("lastTransitionTime") or "")
    if not stuck or age(facts, since) < _REACH_SECONDS:
        return None
    message = (
        f"the head is ready since {at(since)}, and {len(stuck)} worker pods still try to reach it"
    )
    return found(reasons.HEAD_UNREACHABLE, message, since=since)


def _waits_for_head(pod: Object) -> bool:
    return any(
        state.get("name") == "wait-gcs-ready" and "running" in (state.get("state") or {})
        for state in containers(pod)
    )


def _workers(facts: CapacityFacts, late: list[Object]) -> Finding | None:
    running = [p for p in late if phase(p) == "Running"]
    if not running:
        return None
    since = str((running[0].get("status") or {}).get("startTime") or created(running[0]))
    message = f"{len(running)} worker pods run and are not ready"
    probe = [e for p in running for e in events_of(facts.events, p, "Unhealthy")][:1]
    if probe:
        message += f": {one_line(probe[0].get('message') or '', 200)}"
    return found(reasons.WORKERS_NOT_READY, message, since=since)


def starting(facts: CapacityFacts) -> Finding:
    """Nothing is wrong that can be seen."""
    if facts.rayjob is None:
        return found(reasons.STARTING, "the RayJob is being made")
    since, pods = created(facts.rayjob), head_first(facts.pods)
    if queue.held(facts) and not pods:
        message = "the RayJob is suspended"
        return found(reasons.STARTING, message, since=since)
    wanted = 1 + kuberay.desired_workers(facts)
    if not pods:
        return found(reasons.STARTING, "KubeRay makes the Ray cluster's pods", since=since)
    count = sum(ready(p) for p in pods)
    total = max(wanted, len(pods))
    rest = "KubeRay starts the driver" if count >= total else "the others start"
    return found(reasons.STARTING, f"{count} of {total} pods are ready; {rest}", since=since)


def _node(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")
