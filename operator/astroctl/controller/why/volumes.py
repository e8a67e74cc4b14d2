"""Volumes: claims that are not bound, disks that cannot be attached, secrets to mount."""

from __future__ import annotations

import re

from astroctl.controller.why import reasons
from astroctl.controller.why.containers import absent
from astroctl.controller.why.facts import CapacityFacts, Finding, Object, found
from astroctl.controller.why.objects import (
    created,
    events_of,
    head_first,
    name,
    one_line,
    ready,
    said_by_scheduler,
    started,
)

_UNBOUND = re.compile(
    r'unbound (?:immediate )?PersistentVolumeClaims|persistentvolumeclaim "([^"]+)" not found'
    r'|persistentvolumeclaim "([^"]+)" (?:is being deleted|bound to non-existent)'
    r"|volume node affinity conflict|find available persistent volumes to bind"
    r"|non-existent pv",
    re.IGNORECASE,
)
_IN_USE = re.compile(r"ReadWriteOncePod access mode already in-use|ReadWriteOncePod", re.IGNORECASE)
_MULTI = re.compile(r"Multi-Attach error|already exclusively attached|already used by pod")


def doubtful(pod: Object) -> bool:
    """Whether the scheduler says that a claim keeps a pod from its node."""
    said = said_by_scheduler(pod)
    text = str((said or {}).get("message") or "")
    return bool(_UNBOUND.search(text) or _IN_USE.search(text))


def explain(facts: CapacityFacts) -> Finding | None:
    """Why a pod does not get its volumes."""
    for pod in head_first(facts.pods):
        if ready(pod):
            continue
        if problem := _unbound(facts, pod) or _not_mounted(facts, pod):
            return problem
    return None


def _unbound(facts: CapacityFacts, pod: Object) -> Finding | None:
    condition = said_by_scheduler(pod)
    said = one_line((condition or {}).get("message") or "", 1000)
    since = str((condition or {}).get("lastTransitionTime") or "")
    if _IN_USE.search(said):
        message = f"pod {name(pod)} waits: its claim is ReadWriteOncePod and another pod uses it"
        return found(reasons.VOLUME_ATTACH_CONFLICT, message, since=since)
    hit = _UNBOUND.search(said)
    if hit is None:
        return None
    if hit.group(1):
        message = f"persistent volume claim {hit.group(1)} does not exist"
        hint = "create it in the job's namespace, or mend `storage`"
        return found(reasons.VOLUME_NOT_BOUND, message, hint, since)
    if "node affinity conflict" in said:
        message = f"pod {name(pod)} waits: its volume is in another zone than the nodes it may use"
        return found(reasons.VOLUME_NOT_BOUND, message, since=since)
    return found(reasons.VOLUME_NOT_BOUND, _claims(facts, pod), since=since)


def _claims(facts: CapacityFacts, pod: Object) -> str:
    unbound = [
        c for c in facts.claims if ((c.get("status") or {}).get("phase") or "Pending") != "Bound"
    ]
    if not unbound:
        return f"pod {name(pod)} waits for a persistent volume claim that is not bound"
    told = ", ".join(
        f"{name(c)} is {(c.get('status') or {}).get('phase') or 'Pending'}"
        f" (storage class {(c.get('spec') or {}).get('storageClassName') or 'none'})"
        for c in unbound
    )
    return f"persistent volume claims are not bound: {told}"


def _not_mounted(facts: CapacityFacts, pod: Object) -> Finding | None:
    if started(pod):
        return None  # what failed before has passed
    for event in events_of(facts.events, pod, "FailedAttachVolume", "FailedMount"):
        said = one_line(event.get("message") or "", 1000)
        since = str(event.get("firstTimestamp") or created(pod))
        if _MULTI.search(said):
            volume = re.search(r'volume "([^"]+)"', said)
            message = (
                f"volume {volume.group(1) if volume else ''} of pod {name(pod)} is attached to "
                "another node, and it can be attached to one only"
            )
            return found(reasons.VOLUME_ATTACH_CONFLICT, message, since=since)
        if missing := absent(said):
            message = f"{missing} (volume of pod {name(pod)})"
            return found(reasons.SECRET_MISSING, message, since=since)
        if "timed out waiting for the condition" in said and event is not _newest(facts, pod):
            continue
        message = f"pod {name(pod)}: {one_line(said)}"
        return found(reasons.VOLUME_MOUNT_FAILED, message, since=since)
    return None


def _newest(facts: CapacityFacts, pod: Object) -> Object:
    return events_of(facts.events, pod, "FailedAttachVolume", "FailedMount")[0]
