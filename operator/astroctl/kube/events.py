"""Kubernetes events: what happened to an object, once each."""

from __future__ import annotations

import hashlib
import logging

from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import AlreadyExists
from astroctl.kube.times import timestamp
from astrosage.errors import AstroError

log = logging.getLogger("astroctl.operator")
_LONGEST_MESSAGE = 1000


def post(
    kube: Kube,
    obj: Object,
    kind: str,
    reason: str,
    message: str,
    *,
    key: str,
    now: float,
    namespace: str = "default",
) -> None:
    """Tell of something that happened to an object; a failure to tell is no failure.

    Args:
        kube: The cluster.
        obj: The object.
        kind: ``Normal`` or ``Warning``.
        reason: One word.
        message: For people.
        key: What makes this happening different from others of the same reason. The event's name
            follows from it, so that telling twice makes one event.
        now: Seconds since the epoch.
        namespace: For objects that have none.
    """
    meta = obj["metadata"]
    digest = hashlib.sha256(f"{meta['uid']}/{reason}/{key}".encode()).hexdigest()[:12]
    place = meta.get("namespace") or namespace
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{meta['name']}.{digest}", "namespace": place},
        "involvedObject": {
            "apiVersion": obj["apiVersion"],
            "kind": obj["kind"],
            "name": meta["name"],
            "namespace": meta.get("namespace"),
            "uid": meta["uid"],
        },
        "type": kind,
        "reason": reason,
        "message": message[:_LONGEST_MESSAGE],
        "source": {"component": "astrosage-operator"},
        "firstTimestamp": timestamp(now),
        "lastTimestamp": timestamp(now),
        "count": 1,
    }
    try:
        kube.create(event)
    except AlreadyExists:
        return
    except AstroError as error:
        log.warning("event %s of %s/%s not told: %s", reason, place, meta["name"], error.message)
