"""Containers that do not start: images, secrets, memory, crashes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from astroctl.controller.why import reasons
from astroctl.controller.why.facts import CapacityFacts, Finding, Object, found
from astroctl.controller.why.objects import (
    HEAD,
    containers,
    created,
    ended,
    events_of,
    head_first,
    name,
    one_line,
    phase,
    request,
    role,
    waiting,
)
from astrosage.units import format_bytes

_PULLS = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
}
_REFUSED = {"CreateContainerError", "RunContainerError", "PostStartHookError", "PreCreateHookError"}
# A registry that says "access denied" of what does not exist also says so of what does: that is
# told as a failed pull, with both causes.
_NOT_THERE = re.compile(
    r"code = NotFound|: not found|manifest unknown|no match for platform|name unknown|"
    r"couldn't parse image|invalid reference format|is not present with pull policy",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"unauthorized|authentication required|denied|401 |403 |no basic auth", re.IGNORECASE
)
_ABSENT = re.compile(
    r'(?i)\b(secret|configmap) "([^"]+)" not found'
    r"|couldn't find key (\S+) in (Secret|ConfigMap) (\S+)"
    r"|references non-existent (secret|config) key: (\S+)"
)
OUT_OF_MEMORY = "OOMKilled"


def explain(facts: CapacityFacts) -> Finding | None:
    """The first container that does not start, the head's before the workers'."""
    pods = head_first(facts.pods)
    for pod in pods:
        for state in containers(pod):
            if problem := _problem(facts, pods, pod, state):
                return problem
    return None


def absent(text: str) -> str:
    """What a message says does not exist: a Secret, a ConfigMap, or a key in one."""
    hit = _ABSENT.search(text)
    if hit is None:
        return ""
    kind, named, key, holder_kind, holder, _, lone_key = hit.groups()
    if kind:
        return f"{'Secret' if kind.lower() == 'secret' else 'ConfigMap'} {named} does not exist"
    if key:
        return f"{holder_kind} {holder.rpartition('/')[2].rstrip(',.')} has no key {key}"
    return f"a key is missing: {lone_key}"


def _problem(
    facts: CapacityFacts, pods: Sequence[Object], pod: Object, state: Object
) -> Finding | None:
    why, since = waiting(state), _since(pod)
    code, said = str(why.get("reason") or ""), one_line(why.get("message") or "", 1000)
    if code in _PULLS:
        return _pull(facts, pods, pod, state, code, said)
    if code == "CreateContainerConfigError":
        if missing := absent(said):
            return found(reasons.SECRET_MISSING, f"{missing} ({_who(pods, pod)})", since=since)
        message = f"{_who(pods, pod)} cannot start: {one_line(said)}"
        return found(reasons.CONTAINER_REFUSED, message, since=since)
    if code in _REFUSED:
        message = f"{_who(pods, pod)} cannot start: {one_line(said or code)}"
        return found(reasons.CONTAINER_REFUSED, message, since=since)
    over = ended(state)
    if over.get("reason") == OUT_OF_MEMORY:
        reason = reasons.HEAD_OUT_OF_MEMORY if role(pod) == HEAD else reasons.WORKER_OUT_OF_MEMORY
        message = f"{_who(pods, pod)} was killed for memory{memory_limit(pod)}"
        return found(reason, message, since=str(over.get("finishedAt") or ""))
    if code == "CrashLoopBackOff" or (phase(pod) == "Failed" and over.get("exitCode")):
        text = one_line(over.get("message") or over.get("reason") or "")
        message = (
            f"container {state.get('name')} of {_who(pods, pod)} ended with exit code "
            f"{over.get('exitCode')}" + (f": {text}" if text and text != "Error" else "")
        )
        return found(reasons.CONTAINER_CRASHES, message, since=str(over.get("finishedAt") or ""))
    return None


def _pull(
    facts: CapacityFacts,
    pods: Sequence[Object],
    pod: Object,
    state: Object,
    code: str,
    said: str,
) -> Finding:
    image, since = state.get("image") or _image(pod, str(state.get("name"))), _since(pod)
    told = said
    if "ErrImagePull" not in said and not _NOT_THERE.search(said):
        # Before Kubernetes 1.32 a back-off does not repeat the cause; the event has it.
        event = next(
            (e for e in events_of(facts.events, pod, "Failed") if "pull" in str(e.get("message"))),
            None,
        )
        told = one_line((event or {}).get("message") or said, 1000)
    who = _who(pods, pod)
    if code == "InvalidImageName" or _NOT_THERE.search(told):
        what = "is not a valid name" if code == "InvalidImageName" else "cannot be found"
        if code == "ErrImageNeverPull":
            what = "is not on the node, and imagePullPolicy is Never"
        message = f"image {image} {what} ({who})"
        return found(reasons.IMAGE_NOT_FOUND, message, since=since)
    if _DENIED.search(told):
        message = (
            f"the registry denies image {image} ({who}): it needs credentials or has no such image"
        )
        return found(reasons.IMAGE_PULL_FAILED, message, since=since)
    message = f"image {image} cannot be pulled ({who}): {_last_cause(told)}"
    return found(reasons.IMAGE_PULL_FAILED, message, since=since)


def _last_cause(said: str) -> str:
    """The innermost cause of an error that wraps others and repeats the image each time."""
    parts = [p for p in said.split(": ") if p.strip()]
    return one_line(": ".join(parts[-2:]) or "no reason given", 250)


def memory_limit(pod: Object) -> str:
    """The memory limit of a pod, in brackets."""
    limit = request(pod, "memory")
    return f" (limit {format_bytes(limit)})" if limit else ""


def _who(pods: Sequence[Object], pod: Object) -> str:
    if role(pod) == HEAD:
        return f"head pod {name(pod)}"
    total = sum(role(p) != HEAD for p in pods)
    return f"worker pod {name(pod)}" + (f", of {total}" if total > 1 else "")


def _image(pod: Object, container: str) -> str:
    spec = pod.get("spec") or {}
    every = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    return next((str(c.get("image")) for c in every if c.get("name") == container), "")


def _since(pod: Object) -> str:
    return str((pod.get("status") or {}).get("startTime") or created(pod))
