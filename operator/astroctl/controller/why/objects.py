"""Small views of Kubernetes objects: pods and their containers, events, conditions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from astroctl.controller.why.facts import CapacityFacts, Object
from astroctl.kube.times import seconds, timestamp
from astrosage.units import format_bytes

HEAD, WORKER = "head", "worker"
_TYPE = "ray.io/node-type"
_SUFFIXES = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_BINARY = {f"{u}i": 2.0 ** (10 * (n + 1)) for n, u in enumerate("KMGTP")}


def role(pod: Object) -> str:
    """``head`` or ``worker``."""
    return HEAD if (pod["metadata"].get("labels") or {}).get(_TYPE) == HEAD else WORKER


def name(obj: Object) -> str:
    """The object's name."""
    return str(obj["metadata"]["name"])


def head_first(pods: Iterable[Object]) -> list[Object]:
    """The head pod, then workers by name; what is being deleted is left out."""
    alive = (p for p in pods if "deletionTimestamp" not in p["metadata"])
    return sorted(alive, key=lambda p: (role(p) != HEAD, name(p)))


def condition(obj: Object | None, kind: str) -> Object | None:
    """A condition of an object's status."""
    conditions = ((obj or {}).get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c.get("type") == kind), None)


def holds(obj: Object | None, kind: str) -> bool:
    """Whether a condition is true."""
    found = condition(obj, kind)
    return found is not None and found.get("status") == "True"


def phase(pod: Object) -> str:
    """The pod's phase."""
    return str((pod.get("status") or {}).get("phase") or "Pending")


def ready(pod: Object) -> bool:
    """Whether a pod runs and answers its probe."""
    return phase(pod) == "Running" and holds(pod, "Ready")


def unscheduled(pod: Object) -> bool:
    """Whether no node has taken the pod yet."""
    return phase(pod) == "Pending" and not (pod.get("spec") or {}).get("nodeName")


def said_by_scheduler(pod: Object) -> Object | None:
    """The condition by which the scheduler says why it has not placed the pod."""
    found = condition(pod, "PodScheduled")
    return found if found and found.get("status") == "False" else None


def containers(pod: Object) -> Iterator[Object]:
    """States of all containers, those that initialise first."""
    status = pod.get("status") or {}
    yield from status.get("initContainerStatuses") or []
    yield from status.get("containerStatuses") or []


def started(pod: Object) -> bool:
    """Whether a container of the pod has run, so that its volumes and its network are there."""
    states = [s.get("state") or {} for s in containers(pod)]
    return any("running" in s or "terminated" in s for s in states)


def waiting(state: Object) -> Object:
    """Why a container waits; empty if it does not."""
    return dict((state.get("state") or {}).get("waiting") or {})


def ended(state: Object) -> Object:
    """How a container ended last; empty if it never has."""
    for key in ("state", "lastState"):
        over = (state.get(key) or {}).get("terminated")
        if over:
            return dict(over)
    return {}


def request(pod: Object, resource: str) -> float:
    """How much of a resource all containers of a pod ask for together."""
    total = 0.0
    for container in (pod.get("spec") or {}).get("containers") or []:
        resources = container.get("resources") or {}
        asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
        total += quantity(asked.get(resource, 0))
    return total


def gpu_resources(pod: Object) -> list[str]:
    """Names of the GPU resources that a pod asks for."""
    return sorted(
        {
            key
            for container in (pod.get("spec") or {}).get("containers") or []
            for kind in ("limits", "requests")
            for key in ((container.get("resources") or {}).get(kind) or {})
            if is_gpu(key)
        }
    )


def is_gpu(resource: str) -> bool:
    """Whether a resource is a kind of GPU, whole or sliced."""
    return "/" in resource and ("gpu" in resource or "/mig-" in resource)


def quantity(text: Any) -> float:
    """A Kubernetes quantity as a number; 0 for what is none."""
    raw = str(text)
    for suffix, factor in (*_BINARY.items(), *_SUFFIXES.items()):
        if raw.endswith(suffix):
            raw, scale = raw[: -len(suffix)], factor
            break
    else:
        scale = 1.0
    try:
        return float(raw) * scale
    except ValueError:
        return 0.0


def amount(resource: str, value: float) -> str:
    """So much of a resource, for people."""
    if resource in ("memory", "ephemeral-storage"):
        return f"{format_bytes(value)} {resource}"
    return f"{value:g} {resource}"


def events_of(
    events: Sequence[Object], obj: Object | None = None, *reasons: str, kind: str = ""
) -> list[Object]:
    """Events of an object, newest first.

    Args:
        events: All that are known.
        obj: Only those of this object.
        reasons: Only with one of these reasons.
        kind: Only of objects of this kind.
    """
    found = [
        e
        for e in events
        if (obj is None or _about(e).get("name") == name(obj))
        and (not reasons or e.get("reason") in reasons)
        and (not kind or _about(e).get("kind") == kind)
    ]
    return sorted(found, key=last_seen, reverse=True)


def last_seen(event: Object) -> float:
    """When an event happened last, in seconds since the epoch."""
    series = (event.get("series") or {}).get("lastObservedTime")
    when = series or event.get("lastTimestamp") or event.get("eventTime")
    return seconds(when or event["metadata"].get("creationTimestamp"))


def created(obj: Object | None) -> str:
    """When an object was made (RFC 3339)."""
    return str(((obj or {}).get("metadata") or {}).get("creationTimestamp") or "")


def age(facts: CapacityFacts, when: str | float) -> float:
    """Seconds from then to now; 0 if the time is not known."""
    at = when if isinstance(when, (int, float)) else seconds(when)
    return max(0.0, facts.now - at) if at else 0.0


def at(when: str | float) -> str:
    """A time of day for messages. Not "so long ago", which would be another text at each look and
    have the status written each time."""
    found = when if isinstance(when, (int, float)) else seconds(when)
    return timestamp(found)[11:19] + " UTC" if found else "an unknown time"


def one_line(text: object, longest: int = 400) -> str:
    """Text without line breaks, cut where it is long."""
    line = " ".join(str(text).split()).rstrip(".")
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _about(event: Object) -> Object:
    return dict(event.get("involvedObject") or event.get("regarding") or {})
