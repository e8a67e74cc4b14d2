"""KubeRay: what it says of the RayJob and its cluster, and why it cannot make pods."""

from __future__ import annotations

import re
from collections.abc import Sequence

from astroctl.controller.why import queue, reasons
from astroctl.controller.why.facts import CapacityFacts, Finding, Object, found
from astroctl.controller.why.objects import (
    HEAD,
    age,
    at,
    condition,
    created,
    events_of,
    head_first,
    last_seen,
    one_line,
    role,
)
from astroctl.kube.times import timestamp

PATIENCE_SECONDS = 30.0
_REFUSALS = (
    "FailedToCreateHeadPod",
    "FailedToCreateWorkerPod",
    "AutoscalerServiceAccountNotFound",
    "FailedToCreateServiceAccount",
    "FailedToCreateRole",
    "FailedToCreateRoleBinding",
    "FailedToCreateService",
    "FailedToCreateRayCluster",
)
_QUOTA = re.compile(r"exceeded quota: ([^,]+), requested: (.+?), used: (.+?), limited: (.+)$")
_SECURITY = re.compile(r'violates PodSecurity "([^"]+)": (.+)$')
_ACCOUNT = re.compile(
    r'serviceaccount "([^"]+)" not found|ServiceAccount (\S+) is not found', re.IGNORECASE
)
_PRIORITY = re.compile(r"no PriorityClass with name (\S+) was found")
_FORBIDDEN = re.compile(r"pods? \"[^\"]*\" is forbidden: (.+)$|(admission webhook .+)$")


def status(facts: CapacityFacts) -> Object:
    """The RayJob's status."""
    return dict((facts.rayjob or {}).get("status") or {})


def cluster_status(facts: CapacityFacts) -> Object:
    """The RayCluster's status, which the RayJob's repeats."""
    return dict(status(facts).get("rayClusterStatus") or {})


def desired_workers(facts: CapacityFacts) -> int:
    """Worker pods that KubeRay wants now; 0 before it says so."""
    return int(cluster_status(facts).get("desiredWorkerReplicas") or 0)


def needed_workers(facts: CapacityFacts) -> int:
    """Worker pods without which the job does not start: fewer than desired where it is elastic."""
    least = int(cluster_status(facts).get("minWorkerReplicas") or 0)
    return min(least, desired_workers(facts)) if least else desired_workers(facts)


def lacks_pods(facts: CapacityFacts, pods: Sequence[Object]) -> bool:
    """Whether KubeRay has not made all pods that it wants."""
    alive = head_first(pods)
    heads = sum(role(p) == HEAD for p in alive)
    return not heads or len(alive) - heads < desired_workers(facts)


def invalid(facts: CapacityFacts) -> Finding | None:
    """KubeRay refuses the RayJob."""
    told = status(facts)
    if told.get("jobDeploymentStatus") != "ValidationFailed":
        return None
    message = f"KubeRay refuses the RayJob: {one_line(told.get('message') or 'no reason given')}"
    return found(reasons.RAYJOB_INVALID, message, since=created(facts.rayjob))


def unresponsive(facts: CapacityFacts) -> Finding | None:
    """KubeRay has not looked at the RayJob."""
    if facts.rayjob is None or queue.held(facts) or status(facts).get("jobDeploymentStatus"):
        return None
    since = created(facts.rayjob)
    if age(facts, since) < PATIENCE_SECONDS:
        return None
    message = f"the RayJob was made at {at(since)} and KubeRay has not looked at it"
    return found(reasons.KUBERAY_NOT_RESPONDING, message, since=since)


def refused(facts: CapacityFacts) -> Finding | None:
    """The API server does not let KubeRay make the pods."""
    if facts.rayjob is None or not lacks_pods(facts, facts.pods):
        return None
    failure = condition({"status": cluster_status(facts)}, "ReplicaFailure")
    if failure and failure.get("status") == "True":
        since = str(failure.get("lastTransitionTime") or "")
        return _classified(facts, one_line(failure.get("message") or "", 2000), since)
    for event in events_of(facts.events, None, *_REFUSALS):
        since = event.get("firstTimestamp") or event.get("eventTime") or timestamp(last_seen(event))
        return _classified(facts, one_line(event.get("message") or "", 2000), str(since))
    return None


def _classified(facts: CapacityFacts, said: str, since: str) -> Finding:
    short = _shortfall(facts)
    if quota := _QUOTA.search(said):
        name, asked, used, limited = quota.groups()
        message = (
            f"{short}: quota {name} of the namespace allows {limited}; {used} is used and a pod "
            f"asks for {asked}"
        )
        return found(reasons.QUOTA_EXCEEDED, message, since=since)
    if security := _SECURITY.search(said):
        standard, why = security.groups()
        message = f"{short}: pod security {standard} is violated: {one_line(why)}"
        return found(reasons.POD_SECURITY_DENIED, message, since=since)
    if account := _ACCOUNT.search(said):
        name = account.group(1) or account.group(2)
        message = f"{short}: there is no service account {name}"
        return found(reasons.SERVICE_ACCOUNT_MISSING, message, since=since)
    if priority := _PRIORITY.search(said):
        message = f"{short}: there is no PriorityClass {priority.group(1)}"
        return found(reasons.PRIORITY_CLASS_MISSING, message, since=since)
    forbidden = _FORBIDDEN.search(said)
    why = one_line((forbidden.group(1) or forbidden.group(2)) if forbidden else said)
    return found(reasons.ADMISSION_DENIED, f"{short}: {why}", since=since)


def _shortfall(facts: CapacityFacts) -> str:
    pods = head_first(facts.pods)
    if not any(role(p) == HEAD for p in pods):
        return "the head pod cannot be made"
    workers, wanted = len(pods) - 1, desired_workers(facts)
    return f"{wanted - workers} of {wanted} worker pods cannot be made"
