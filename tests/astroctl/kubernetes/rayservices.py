"""The RayService half of the stand-in for KubeRay: clusters that come and go, and Serve's word."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from astroctl.kube.client import Kube, Object
from astroctl.kube.resources import RAYSERVICE
from astrosage.errors import AstroError
from tests.kube.kubelet import now
from tests.kube.kuberay import KubeRay
from tests.kube.rayclusters import suffix

_TICK_SECONDS = 0.1


@dataclass
class _Known:
    active: str = ""
    pending: str = ""
    hashes: dict[str, str] = field(default_factory=dict)
    config: str = ""
    deployed: float = 0.0


class RayServices:
    """Moves the RayServices of a namespace, on the Ray clusters of a stand-in.

    Args:
        kube: The administrator's client.
        namespace: Where.
        kuberay: Makes the clusters' pods.

    Attributes:
        load_seconds: How long a model takes to load.
        failure: What Serve says if the model cannot be loaded; empty if it can.
        replaced: Names of clusters that made way, in order.
    """

    def __init__(self, kube: Kube, namespace: str, kuberay: KubeRay) -> None:
        self._kube, self._namespace, self._clusters = kube, namespace, kuberay.clusters
        self.load_seconds, self.failure = 0.0, ""
        self.replaced: list[str] = []
        self._known: dict[str, _Known] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="rayservices", daemon=True)

    def start(self) -> RayServices:
        """Begin."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._stopping.wait(_TICK_SECONDS):
            with contextlib.suppress(AstroError):
                there = self._kube.list(RAYSERVICE, self._namespace)
                for service in there:
                    if "deletionTimestamp" not in service["metadata"]:
                        self._look(service)

    def _look(self, service: Object) -> None:
        meta, spec = service["metadata"], service["spec"]
        known = self._known.setdefault(meta["uid"], _Known())
        wanted = json.dumps(spec["rayClusterConfig"], sort_keys=True)
        newest = known.pending or known.active
        fixed = (spec.get("upgradeStrategy") or {}).get("type") == "None" and known.active
        if not newest or (known.hashes[newest] != wanted and not fixed):
            known.pending = f"{meta['name']}-{suffix()}"
            known.hashes[known.pending] = wanted
            self._clusters.create(service, known.pending, spec["rayClusterConfig"])
            known.config = ""
        if known.config != spec["serveConfigV2"]:
            known.config, known.deployed = spec["serveConfigV2"], 0.0
        cluster = self._clusters.find(self._namespace, known.pending or known.active)
        up = cluster is not None and self._clusters.is_ready(cluster)
        if up and not known.deployed:
            known.deployed = time.monotonic()
        applications = self._applications(known) if up else {}
        if known.pending and applications.get("model", {}).get("status") == "RUNNING":
            if known.active:
                self.replaced.append(known.active)
                self._clusters.delete(self._namespace, known.active)
            known.active, known.pending = known.pending, ""
        self._tell(service, known, applications)

    def _applications(self, known: _Known) -> dict[str, Any]:
        if time.monotonic() - known.deployed < self.load_seconds:
            return {"model": {"status": "DEPLOYING", "message": ""}}
        if self.failure:
            return {"model": {"status": "DEPLOY_FAILED", "message": self.failure}}
        return {"model": {"status": "RUNNING", "message": ""}}

    def _tell(self, service: Object, known: _Known, applications: dict[str, Any]) -> None:
        meta = service["metadata"]
        there = {"rayClusterName": known.active, "applicationStatuses": {}}
        if known.active:
            running = {"model": {"status": "RUNNING", "message": ""}}
            there["applicationStatuses"] = running if known.pending else applications
        coming = {"rayClusterName": known.pending, "applicationStatuses": applications}
        conditions = {"Ready": bool(known.active), "UpgradeInProgress": False}
        conditions["UpgradeInProgress"] = bool(known.active and known.pending)
        status = {
            "observedGeneration": meta["generation"],
            "activeServiceStatus": there if known.active else None,
            "pendingServiceStatus": coming if known.pending else None,
            "conditions": [
                {
                    "type": kind,
                    "status": "True" if holds else "False",
                    "reason": kind,
                    "message": "",
                    "lastTransitionTime": now(),
                }
                for kind, holds in conditions.items()
            ],
        }
        self._kube.patch(RAYSERVICE, meta["name"], {"status": status}, self._namespace, "status")
