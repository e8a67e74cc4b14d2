"""The RayService half of the stand-in for KubeRay: one cluster, and another for an upgrade."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import threading
import time
from typing import Any

import yaml

from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import AlreadyExists, Changed, Missing
from astroctl.kube.resources import RAYSERVICE, SERVICE
from astrosage.errors import AstroError
from tests.kube.heads import Heads, Unreachable
from tests.kube.kubelet import now
from tests.kube.rayclusters import CLUSTER, RayClusters, is_newer, reference, suffix
from tests.kube.rayrules import name_problem
from tests.kube.watcher import Watcher

_HASH = "ray.io/cluster-spec-hash"


class RayServices:
    """Keeps RayServices: clusters, Serve applications, services, status.

    Args:
        kube: The administrator's client.
        namespace: Where; None: everywhere.
        clusters: Their clusters.
        heads: What runs their applications.

    Attributes:
        deletion_delay: Seconds until the old cluster goes after an upgrade (KubeRay: 60).
    """

    def __init__(
        self, kube: Kube, namespace: str | None, clusters: RayClusters, heads: Heads
    ) -> None:
        self._kube, self._clusters, self._heads = kube, clusters, heads
        self.deletion_delay = 0.5
        self._lock = threading.Lock()
        self._services: dict[str, Object] = {}
        self._configured: dict[str, str] = {}
        self._leaving: dict[tuple[str, str], float] = {}
        self._watcher = Watcher(kube, RAYSERVICE, namespace, self._see)

    def start(self) -> None:
        """Begin."""
        self._watcher.start()

    def stop(self) -> None:
        """End; the objects stay."""
        self._watcher.stop()

    def _see(self, change: str, service: Object) -> None:
        uid = service["metadata"]["uid"]
        with self._lock:
            known = self._services.get(uid)
            if change == "DELETED":
                self._services.pop(uid, None)
            elif known is None or is_newer(service, known):
                self._services[uid] = service

    def tick(self) -> None:
        """Do for every service what is due."""
        with self._lock:
            services = list(self._services.values())
        for service in services:
            with contextlib.suppress(AstroError):
                self._tend(service)
        for (namespace, name), due in list(self._leaving.items()):
            if time.monotonic() >= due and self._clusters.delete(namespace, name):
                del self._leaving[namespace, name]

    def _tend(self, service: Object) -> None:
        meta = service["metadata"]
        if "deletionTimestamp" in meta:
            return
        wrong = name_problem("RayService", meta["name"])
        status: dict[str, Any] = copy.deepcopy(service.get("status") or {})
        if wrong:
            return
        if service["spec"].get("suspend"):
            self._suspend(service, status)
            return
        wanted = json.dumps(service["spec"]["rayClusterConfig"], sort_keys=True)
        active = self._cluster(service, status, "activeServiceStatus")
        pending = self._cluster(service, status, "pendingServiceStatus")
        upgrades = (service["spec"].get("upgradeStrategy") or {}).get("type") != "None"
        newest = pending or active
        changed = newest is not None and newest["metadata"]["annotations"].get(_HASH) != _hash(
            wanted
        )
        if newest is None or (changed and upgrades and pending is None):
            owner = {**service, "metadata": {**meta, "annotations": {_HASH: _hash(wanted)}}}
            made = self._clusters.create(
                owner, f"{meta['name']}-{suffix()}", service["spec"]["rayClusterConfig"]
            )
            status["pendingServiceStatus"] = {"rayClusterName": made["metadata"]["name"]}
            pending = made
        for key, cluster in (("activeServiceStatus", active), ("pendingServiceStatus", pending)):
            if cluster is not None:
                status[key] |= {"applicationStatuses": self._serve(service, cluster)}
        if pending is not None and _all_run(status["pendingServiceStatus"]):
            if active is not None:
                old = (meta["namespace"], active["metadata"]["name"])
                self._leaving[old] = time.monotonic() + self.deletion_delay
            status["activeServiceStatus"] = status.pop("pendingServiceStatus")
            active, pending = pending, None
            self._point(service, active)
        ready = active is not None and _all_run(status["activeServiceStatus"])
        status["serviceStatus"] = "Running" if ready else ""
        status["numServeEndpoints"] = int(ready)
        upgrading = active is not None and pending is not None
        _conditions(status, {"Ready": ready, "UpgradeInProgress": upgrading})
        self._write(service, status)

    def _cluster(self, service: Object, status: dict[str, Any], key: str) -> Object | None:
        name = (status.get(key) or {}).get("rayClusterName")
        return self._clusters.find(service["metadata"]["namespace"], name) if name else None

    def _serve(self, service: Object, cluster: Object) -> dict[str, Any]:
        """Give the head the applications, once, and ask how they are."""
        config, uid = service["spec"].get("serveConfigV2") or "", cluster["metadata"]["uid"]
        if not self._clusters.is_ready(cluster) or not self._heads.address(cluster):
            return {}
        try:
            if self._configured.get(uid) != config:
                self._heads.serve(cluster, yaml.safe_load(config))
                self._configured[uid] = config
            return self._heads.applications(cluster)
        except Unreachable:
            self._configured.pop(uid, None)
            return {}

    def _suspend(self, service: Object, status: dict[str, Any]) -> None:
        namespace = service["metadata"]["namespace"]
        for key in ("activeServiceStatus", "pendingServiceStatus"):
            name = (status.pop(key, None) or {}).get("rayClusterName")
            if name and not self._clusters.delete(namespace, name):
                status[key] = {"rayClusterName": name}
        gone = "activeServiceStatus" not in status and "pendingServiceStatus" not in status
        status |= {"serviceStatus": "", "numServeEndpoints": 0}
        _conditions(status, {"Ready": False, "Suspending": not gone, "Suspended": gone})
        self._write(service, status)

    def _point(self, service: Object, cluster: Object) -> None:
        """Let the service's own names lead to a cluster."""
        meta = service["metadata"]
        selector = {CLUSTER: cluster["metadata"]["name"]}
        for kind, port in (("serve", 8000), ("head", 8265)):
            body = {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {
                    "name": f"{meta['name']}-{kind}-svc",
                    "namespace": meta["namespace"],
                    "ownerReferences": [reference(service)],
                },
                "spec": {"selector": selector, "ports": [{"name": kind, "port": port}]},
            }
            try:
                self._kube.create(body)
            except AlreadyExists:
                changes = {"spec": {"selector": selector}}
                self._kube.patch(SERVICE, f"{meta['name']}-{kind}-svc", changes, meta["namespace"])

    def _write(self, service: Object, status: dict[str, Any]) -> None:
        if status == (service.get("status") or {}):
            return
        status["observedGeneration"] = service["metadata"].get("generation")
        status["lastUpdateTime"] = now()
        with contextlib.suppress(Changed, Missing):
            self._see("MODIFIED", self._kube.replace({**service, "status": status}, "status"))


def _all_run(part: dict[str, Any]) -> bool:
    applications = part.get("applicationStatuses") or {}
    return bool(applications) and all(a["status"] == "RUNNING" for a in applications.values())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _conditions(status: dict[str, Any], wanted: dict[str, bool]) -> None:
    reasons = {
        "Ready": ("NonZeroServeEndpoints", "ZeroServeEndpoints"),
        "UpgradeInProgress": ("BothActivePendingClustersExist", "NoPendingCluster"),
        "Suspending": ("SuspendRequested", "Suspended"),
        "Suspended": ("Suspended", "Suspending"),
    }
    before = {c["type"]: c for c in status.get("conditions") or []}
    made = []
    for kind, holds in wanted.items():
        value = "True" if holds else "False"
        old = before.get(kind)
        since = old["lastTransitionTime"] if old and old["status"] == value else now()
        made.append(
            {
                "type": kind,
                "status": value,
                "reason": reasons[kind][0 if holds else 1],
                "message": "",
                "lastTransitionTime": since,
            }
        )
    status["conditions"] = made
