"""What the watches have seen: the operator's picture of the cluster.

It may be a moment old. Whoever acts on it must come to no harm by that: names are fixed, and what
exists already is no error.
"""

from __future__ import annotations

import threading
from collections import defaultdict

from astroctl.kube.client import Object

Key = tuple[str, str]
_JOB = "astrosage.io/job"


class Store:
    """AstroJobs, their RayJobs, and pools. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[Key, Object] = {}
        self._rayjobs: dict[Key, dict[str, Object]] = defaultdict(dict)
        self._pools: dict[str, Object] = {}

    def put_job(self, obj: Object) -> Key:
        """Note an AstroJob, unless a newer state of it is known from a write of ours."""
        key = key_of(obj)
        with self._lock:
            known = self._jobs.get(key)
            if known is None or not _newer(known, obj):
                self._jobs[key] = _lean(obj)
        return key

    def put_newer_job(self, obj: Object) -> None:
        """Note an AstroJob as the server gave it back after a write of ours."""
        with self._lock:
            if key_of(obj) in self._jobs:
                self._jobs[key_of(obj)] = _lean(obj)

    def drop_job(self, obj: Object) -> Key:
        """Forget an AstroJob."""
        key = key_of(obj)
        with self._lock:
            self._jobs.pop(key, None)
        return key

    def job(self, key: Key) -> Object | None:
        """An AstroJob."""
        with self._lock:
            return self._jobs.get(key)

    def is_news(self, obj: Object) -> bool:
        """Whether a state of an AstroJob or RayJob is newer than what is known."""
        name = obj["metadata"]["name"]
        with self._lock:
            if obj["kind"] == "RayJob":
                key = owner_key(obj)
                known = self._rayjobs.get(key, {}).get(name) if key else obj
            else:
                known = self._jobs.get(key_of(obj))
        same = known is not None and known["metadata"]["uid"] == obj["metadata"]["uid"]
        return not same or _newer(obj, known or obj)

    def jobs(self) -> list[Object]:
        """All AstroJobs."""
        with self._lock:
            return list(self._jobs.values())

    def put_rayjob(self, obj: Object) -> Key | None:
        """Note a RayJob; returns the AstroJob it belongs to."""
        key = owner_key(obj)
        if key is not None:
            with self._lock:
                known = self._rayjobs[key].get(obj["metadata"]["name"])
                if known is None or not _newer(known, obj):
                    self._rayjobs[key][obj["metadata"]["name"]] = _lean(obj)
        return key

    def drop_rayjob(self, obj: Object) -> Key | None:
        """Forget a RayJob."""
        key = owner_key(obj)
        if key is not None:
            with self._lock:
                self._rayjobs[key].pop(obj["metadata"]["name"], None)
                if not self._rayjobs[key]:
                    del self._rayjobs[key]
        return key

    def rayjobs(self, key: Key, uid: str) -> list[Object]:
        """The RayJobs of an AstroJob; those of an earlier one of the same name are not its."""
        with self._lock:
            found = list(self._rayjobs.get(key, {}).values())
        return [r for r in found if _owned_by(r, uid)]

    def put_pool(self, obj: Object) -> None:
        """Note a GPUNodePool."""
        with self._lock:
            self._pools[obj["metadata"]["name"]] = _lean(obj)

    def drop_pool(self, obj: Object) -> None:
        """Forget a GPUNodePool."""
        with self._lock:
            self._pools.pop(obj["metadata"]["name"], None)

    def pool(self, name: str) -> Object | None:
        """A GPUNodePool."""
        with self._lock:
            return self._pools.get(name)

    def pools(self) -> list[Object]:
        """All GPUNodePools."""
        with self._lock:
            return list(self._pools.values())


def key_of(obj: Object) -> Key:
    """Namespace and name."""
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def owner_key(rayjob: Object) -> Key | None:
    """The AstroJob that a RayJob says it belongs to."""
    name = (rayjob["metadata"].get("labels") or {}).get(_JOB)
    return (rayjob["metadata"]["namespace"], name) if name else None


def _newer(known: Object, obj: Object) -> bool:
    """Whether what is known of an object is newer than another state of the same one."""
    a, b = known["metadata"], obj["metadata"]
    same = a.get("uid") == b.get("uid")
    return same and int(a.get("resourceVersion") or 0) > int(b.get("resourceVersion") or 0)


def _owned_by(obj: Object, uid: str) -> bool:
    return any(o.get("uid") == uid for o in obj["metadata"].get("ownerReferences") or [])


def _lean(obj: Object) -> Object:
    """Without what is large and never read. RayJobs repeat whole pod templates."""
    meta = {k: v for k, v in obj["metadata"].items() if k != "managedFields"}
    lean = {**obj, "metadata": meta}
    if obj.get("kind") == "RayJob":
        lean["spec"] = {"suspend": (obj.get("spec") or {}).get("suspend")}
    return lean
