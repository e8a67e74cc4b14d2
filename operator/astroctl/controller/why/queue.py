"""Kueue: why a job is not admitted."""

from __future__ import annotations

import re

from astroctl.controller.why import reasons
from astroctl.controller.why.facts import CapacityFacts, Finding, Object, found
from astroctl.controller.why.objects import age, condition, created, holds, one_line
from astroctl.controller.why.reasons import Reason

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
_PATIENCE_SECONDS = 30.0
_TOO_LARGE = re.compile(r"> maximum capacity|exceeds maximum capacity|ExceedsMaxQuota")
_NEEDED = re.compile(
    r"insufficient unused quota for (\S+) in flavor (\S+), (\S+) more needed(?:\W|$)"
)
_ABSENT = re.compile(r"(LocalQueue|ClusterQueue) \S* ?(?:doesn't exist|not found|is missing)")
_INACTIVE = re.compile(r"(LocalQueue|ClusterQueue) \S* ?(?:is inactive|is not active|is stopped)")
# Newer versions of Kueue give such reasons, older ones `Pending` and `Inadmissible`.
_BY_REASON: dict[str, Reason] = {
    "ExceedsMaxQuota": reasons.QUEUE_TOO_SMALL,
    "Suspended": reasons.QUEUE_INACTIVE,
    "Misconfigured": reasons.QUEUE_INACTIVE,
    "Deactivated": reasons.WORKLOAD_DEACTIVATED,
    "NoMatchingFlavor": reasons.QUEUE_TOO_SMALL,
}


def queue_name(facts: CapacityFacts) -> str:
    """The LocalQueue that the RayJob waits in; empty without one."""
    labels = ((facts.rayjob or {}).get("metadata") or {}).get("labels") or {}
    return str(labels.get(QUEUE_LABEL) or facts.cluster.queue or "")


def held(facts: CapacityFacts) -> bool:
    """Whether Kueue holds the job back (then KubeRay makes no pods)."""
    return bool(((facts.rayjob or {}).get("spec") or {}).get("suspend"))


def explain(facts: CapacityFacts) -> Finding | None:
    """Why Kueue does not admit the job; None if it did, or has no say."""
    if facts.rayjob is None or not queue_name(facts):
        return None
    if holds(facts.workload, "Admitted"):
        return None
    if facts.workload is None:
        return _without_workload(facts)
    return (
        _deactivated(facts, facts.workload)
        or _checks(facts, facts.workload)
        or _not_reserved(facts, facts.workload)
    )


def _without_workload(facts: CapacityFacts) -> Finding | None:
    if not held(facts):
        return None
    since = created(facts.rayjob)
    queue = queue_name(facts)
    if age(facts, since) < _PATIENCE_SECONDS:
        message = f"the job has just been put into queue {queue}"
        return found(reasons.WAITING_FOR_ADMISSION, message, "", since)
    if facts.queue is None:
        return found(reasons.QUEUE_NOT_FOUND, f"there is no LocalQueue {queue}", since=since)
    message = f"Kueue has made no Workload for the job in queue {queue}"
    return found(reasons.KUEUE_NOT_RESPONDING, message, since=since)


def _deactivated(facts: CapacityFacts, workload: Object) -> Finding | None:
    if (workload.get("spec") or {}).get("active") is not False:
        return None
    evicted = condition(workload, "Evicted") or {}
    why = one_line(evicted.get("message") or "somebody has set active: false")
    since = str(evicted.get("lastTransitionTime") or "")
    message = f"Kueue has deactivated the job in queue {queue_name(facts)}: {why}"
    return found(reasons.WORKLOAD_DEACTIVATED, message, since=since)


def _checks(facts: CapacityFacts, workload: Object) -> Finding | None:
    if not holds(workload, "QuotaReserved"):
        return None
    checks = (workload.get("status") or {}).get("admissionChecks") or []
    waiting = [c for c in checks if c.get("state") != "Ready"]
    told = "; ".join(
        f"{c.get('name')} is {c.get('state')}"
        + (f" ({one_line(c['message'], 150)})" if c.get("message") else "")
        for c in waiting
    )
    since = str((condition(workload, "QuotaReserved") or {}).get("lastTransitionTime") or "")
    message = f"quota is reserved in queue {queue_name(facts)}; " + (
        f"admission checks wait: {told}" if told else "Kueue is about to start the job"
    )
    return found(reasons.WAITING_FOR_ADMISSION, message, None if told else "", since)


def _not_reserved(facts: CapacityFacts, workload: Object) -> Finding:
    queue, reserved = queue_name(facts), condition(workload, "QuotaReserved") or {}
    said = one_line(reserved.get("message") or "")
    since = str(reserved.get("lastTransitionTime") or created(workload))
    reason = _classified(facts, str(reserved.get("reason") or ""), said)
    if needs := _NEEDED.findall(said):
        lacks = ", ".join(f"{n.rstrip('.')} {r} (flavor {f})" for r, f, n in needs)
        message = f"queue {queue} has not enough free quota: {lacks} more needed"
    elif reason is reasons.WAITING_FOR_QUOTA and not said:
        message = f"the job waits in queue {queue}"
    else:
        message = f"queue {queue}: {said}"
    if reason is reasons.WAITING_FOR_QUOTA and holds(workload, "Evicted"):
        evicted = condition(workload, "Evicted") or {}
        why = f"{evicted.get('reason')}: {one_line(evicted.get('message') or '')}"
        if not needs:
            since = str(evicted.get("lastTransitionTime") or since)
            message = f"Kueue took the quota of queue {queue} back ({why})"
            return found(reasons.EVICTED_BY_QUEUE, message, since=since)
        message += f"; its quota was taken back before ({why})"
    return found(reason, message, since=since)


def _classified(facts: CapacityFacts, reason: str, said: str) -> Reason:
    if _ABSENT.search(said):
        return reasons.QUEUE_NOT_FOUND
    if _INACTIVE.search(said):
        return reasons.QUEUE_INACTIVE
    if _TOO_LARGE.search(said):
        return reasons.QUEUE_TOO_SMALL
    if reason in _BY_REASON:
        return _BY_REASON[reason]
    active = condition(facts.queue, "Active")
    if active and active.get("status") == "False":
        return reasons.QUEUE_INACTIVE
    return reasons.WAITING_FOR_QUOTA
