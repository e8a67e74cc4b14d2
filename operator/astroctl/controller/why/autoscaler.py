"""Autoscalers of nodes that are not ours: what they say on the pods that wait."""

from __future__ import annotations

import re

from astroctl.controller.why import reasons
from astroctl.controller.why.facts import CapacityFacts, Finding, Object, found
from astroctl.controller.why.objects import age, events_of, last_seen, one_line
from astroctl.kube.times import timestamp

_EVIDENCE_SECONDS = 1800.0
_FULL = re.compile(r"max (?:node group|cluster)[^,;]* reached|max limit reached|max size reached")
_LIMITS = re.compile(r"exceed limits for nodepool:? ?\(?(?:NodePool=)?\"?([\w.-]+)?")
_BACKOFF = re.compile(r"in backoff after failed scale-up")
_TRIGGERED = re.compile(r"\[?\{([^}]*)\}")


def explain(facts: CapacityFacts, pod: Object, whom: str) -> Finding | None:
    """What an autoscaler does for a pod; None if nothing, or nothing is known.

    Args:
        facts: All that is known.
        pod: The pod that waits.
        whom: Who waits, in words, to begin a message with, such as `the head pod waits`.
    """
    for event in _told(facts, pod):
        said, reason = one_line(event.get("message") or "", 1500), event.get("reason")
        since = str(event.get("firstTimestamp") or timestamp(last_seen(event)))
        if reason == "TriggeredScaleUp":
            groups = ", ".join(_TRIGGERED.findall(said)) or said
            message = f"{whom} for the cluster autoscaler, which scales up: {groups}"
            return found(reasons.SCALING_UP, message, "", since)
        if reason == "Nominated":
            message = f"{whom} for a node that is on its way: {said}"
            return found(reasons.NODES_BOOTING, message, "", since)
        if reason == "FailedScaleUp" or _BACKOFF.search(said):
            message = f"{whom}, and the cluster autoscaler fails to add nodes: {one_line(said)}"
            hint = "`kubectl get events` shows what the cloud said: often its quota or no stock"
            return found(reasons.POOL_DRIVER_FAILING, message, hint, since)
        if limits := _LIMITS.search(said):
            named = f" {limits.group(1)}" if limits.group(1) else ""
            message = f"{whom}: Karpenter's NodePool{named} has reached its limits"
            hint = "raise `spec.limits` of the NodePool, or wait for other pods to end"
            return found(reasons.POOL_AT_MAXIMUM, message, hint, since)
        if _FULL.search(said):
            message = f"{whom}: the autoscaler's node group has reached its maximum ({said})"
            hint = "raise the node group's maximum, or wait for other pods to end"
            return found(reasons.POOL_AT_MAXIMUM, message, hint, since)
    return None


def refusal(facts: CapacityFacts, pod: Object) -> str:
    """Why an autoscaler does not help, for the end of a message; empty if nothing is known."""
    for event in _told(facts, pod):
        if event.get("reason") in ("NotTriggerScaleUp", "FailedScheduling"):
            said = one_line(event.get("message") or "")
            return f"; the autoscaler does not help: {said}"
    return ""


def _told(facts: CapacityFacts, pod: Object) -> list[Object]:
    """Events of autoscalers on the pod, newest first, that are not too old to hold."""
    found_events = [
        e
        for e in events_of(facts.events, pod)
        if e.get("reason")
        in ("TriggeredScaleUp", "NotTriggerScaleUp", "FailedScaleUp", "Nominated")
        or (e.get("reason") == "FailedScheduling" and "karpenter" in _component(e))
    ]
    return [e for e in found_events if age(facts, last_seen(e)) < _EVIDENCE_SECONDS]


def _component(event: Object) -> str:
    source = (event.get("source") or {}).get("component") or ""
    return str(source or event.get("reportingComponent") or "")
