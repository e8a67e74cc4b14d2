"""A stand-in for the scheduler and the kubelet of one node.

It binds pods to its node and runs their commands as local processes (see
:mod:`tests.kube.containers`), writes their status, serves their logs, ``exec`` and port
forwarding to the API server, and ends and removes them. What it cannot do: images (any name will
do), mounts, isolation, resources, probes.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import AlreadyExists
from astroctl.kube.resources import CLAIM, NODE, POD
from astrosage.errors import AstroError
from tests.kube.containers import Sandbox
from tests.kube.kubelet_api import KubeletApi
from tests.kube.objects import token
from tests.kube.plane import OwnPlane
from tests.kube.watcher import Watcher

_MOST_GRACE_SECONDS = 2.0
Refusal = tuple[str, str]


class Kubelet:
    """One node.

    Args:
        plane: The control plane, which must be able to reach this node.
        kube: The administrator's client.
        folder: Of pods and claims.
        namespace: Whose pods run here; None: all.
        name: Of the node.

    Attributes:
        claims: Folder of the persistent volume claims: ``claims / namespace / claim``.
        takes: Which pods this node looks after; the others are left alone.
        unschedulable: Why a pod cannot be placed (a message), or None.
        waiting: ``(reason, message)`` that keeps a pod's containers from starting, such as
            ``("ImagePullBackOff", …)``, or None.
        ports: Where port forwarding leads: ``(pod, port)`` to a port on loopback.
        port_of: The same for what is not in ``ports``; None: the same port.
        boot_seconds: From binding to running.
    """

    def __init__(
        self,
        plane: OwnPlane,
        kube: Kube,
        folder: Path,
        namespace: str | None = None,
        name: str = "node-1",
    ) -> None:
        self.name, self._kube, self._folder, self._plane = name, kube, folder, plane
        self.claims = folder / "claims"
        self.takes: Callable[[Object], bool] = lambda pod: True
        self.unschedulable: Callable[[Object], str | None] = lambda pod: None
        self.waiting: Callable[[Object], Refusal | None] = lambda pod: None
        self.ports: dict[tuple[str, int], int] = {}
        self.port_of: Callable[[Object, int], int | None] = lambda pod, port: None
        self.boot_seconds = 0.0
        self.allocatable = {"cpu": "64", "memory": "512Gi", "pods": "500", "nvidia.com/gpu": "8"}
        self._sandboxes: dict[str, Sandbox] = {}
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self.api = KubeletApi(plane, self._find, self._target, f"kubelet-{name}")
        self._watcher = Watcher(kube, POD, namespace, self._seen)

    def start(self) -> Kubelet:
        """Make the node and begin."""
        self.api.start()
        self._make_node()
        self._watcher.start()
        return self

    def stop(self) -> None:
        """End all pods' processes and remove the node."""
        self._stopping.set()
        self._watcher.stop()
        for sandbox in list(self._sandboxes.values()):
            sandbox.stop()
        for thread in self._threads:
            thread.join()
        self.api.stop()
        with contextlib.suppress(AstroError):
            self._kube.delete(NODE, self.name)
        shutil.rmtree(self._folder / "pods", ignore_errors=True)

    def claim(self, namespace: str, name: str) -> Path:
        """The folder of a claim."""
        path = self.claims / namespace / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _find(self, namespace: str, pod: str) -> Sandbox | None:
        for sandbox in list(self._sandboxes.values()):
            meta = sandbox.pod["metadata"]
            if (meta["namespace"], meta["name"]) == (namespace, pod):
                return sandbox
        return None

    def _target(self, pod: Object, port: int) -> int:
        named = self.ports.get((pod["metadata"]["name"], port))
        return named or self.port_of(pod, port) or port

    def _make_node(self) -> None:
        with contextlib.suppress(AlreadyExists):
            labels = {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux"}
            meta = {"name": self.name, "labels": labels}
            self._kube.create({"apiVersion": "v1", "kind": "Node", "metadata": meta})
        conditions = [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.api.port}},
            "capacity": self.allocatable,
            "allocatable": self.allocatable,
            "conditions": conditions,
        }
        self._kube.patch(NODE, self.name, {"status": status}, subresource="status")
        # Nodes that are not ready yet are tainted when they are made.
        self._kube.patch(NODE, self.name, {"spec": {"taints": None}})

    def _seen(self, change: str, pod: Object) -> None:
        if change == "DELETED" or self._stopping.is_set() or not self.takes(pod):
            return
        uid, node = pod["metadata"]["uid"], pod["spec"].get("nodeName")
        if pod["metadata"].get("deletionTimestamp"):
            if node == self.name:
                self._in_thread(self._end, pod)
        elif not node:
            self._in_thread(self._place, pod)
        elif node == self.name:
            with self._lock:
                if uid in self._sandboxes:
                    return
                self._sandboxes[uid] = self._sandbox(pod)
            self._in_thread(self._run, pod)

    def _sandbox(self, pod: Object) -> Sandbox:
        folder = self._folder / "pods" / pod["metadata"]["uid"]
        folder.mkdir(parents=True, exist_ok=True)
        kubeconfig, spec = None, pod["spec"]
        if spec.get("automountServiceAccountToken", True):
            namespace = pod["metadata"]["namespace"]
            account = spec.get("serviceAccountName") or "default"
            kubeconfig = self._plane.kubeconfig_for(
                folder / "kubeconfig", token(self._kube, namespace, account), namespace
            )
        return Sandbox(self._kube, pod, folder, self.claims, kubeconfig)

    def _in_thread(self, do: Callable[[Object], None], pod: Object) -> None:
        def safely() -> None:
            with contextlib.suppress(AstroError):
                do(pod)

        thread = threading.Thread(target=safely, name=f"pod {pod['metadata']['name']}", daemon=True)
        self._threads = [t for t in self._threads if t.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _place(self, pod: Object) -> None:
        if pod["spec"].get("schedulingGates"):
            return
        message = self.unschedulable(pod) or self._missing_claim(pod)
        if message:
            condition = {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": message,
            }
            if condition not in _plain(pod):
                self._status(pod, {"conditions": [condition]})
                self._in_thread(self._again, pod)
            return
        meta = pod["metadata"]
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": self.name},
        }
        path = POD.path(meta["namespace"], meta["name"], "binding")
        self._kube.request("POST", path, binding)

    def _again(self, pod: Object) -> None:
        """Look again, as a scheduler does, whether a pod can be placed now."""
        meta = pod["metadata"]
        while not self._stopping.wait(0.3):
            pod = self._kube.get(POD, meta["name"], meta["namespace"])
            if pod["spec"].get("nodeName") or pod["metadata"].get("deletionTimestamp"):
                return
            if not (self.unschedulable(pod) or self._missing_claim(pod)):
                self._place(pod)
                return

    def _missing_claim(self, pod: Object) -> str | None:
        namespace = pod["metadata"]["namespace"]
        for volume in pod["spec"].get("volumes") or []:
            claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if claim and self._kube.find(CLAIM, claim, namespace) is None:
                return f'persistentvolumeclaim "{claim}" not found'
        return None

    def _run(self, pod: Object) -> None:
        sandbox = self._sandboxes[pod["metadata"]["uid"]]
        while (refusal := self.waiting(pod)) is not None:
            self._status(pod, _pending(pod, refusal))
            if self._stopping.wait(0.3) or sandbox.stopped:
                return
        if self._stopping.wait(self.boot_seconds):
            return
        if not sandbox.run_init():
            self._status(pod, {"phase": "Failed", "conditions": _conditions(False)})
            return
        seconds = pod["spec"].get("activeDeadlineSeconds")
        deadline = time.monotonic() + seconds if seconds else None
        restarts = 0
        while True:
            sandbox.start()
            self._status(pod, running(pod, restarts))
            codes = sandbox.exit_codes(deadline)
            if codes is None:
                break
            if pod["spec"].get("restartPolicy", "Always") != "Always":
                self._status(pod, _ended(pod, codes))
                return
            restarts += 1
            sandbox.reset()
            if self._stopping.wait(1.0):
                return
        if deadline and time.monotonic() > deadline and not sandbox.stopped:
            sandbox.stop()
            message = "Pod was active on the node longer than the specified deadline"
            failed = {"phase": "Failed", "reason": "DeadlineExceeded", "message": message}
            self._status(pod, {**failed, "conditions": _conditions(False)})

    def _end(self, pod: Object) -> None:
        meta = pod["metadata"]
        with self._lock:
            sandbox = self._sandboxes.pop(meta["uid"], None)
        grace = float(meta.get("deletionGracePeriodSeconds") or 0)
        if sandbox is not None:
            sandbox.stop(min(grace, _MOST_GRACE_SECONDS))
        options = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": meta["uid"]},
        }
        self._kube.request("DELETE", POD.path(meta["namespace"], meta["name"]), options)

    def _status(self, pod: Object, status: dict[str, Any]) -> None:
        meta = pod["metadata"]
        self._kube.patch(
            POD, meta["name"], {"status": status}, meta["namespace"], subresource="status"
        )


def now() -> str:
    """The time as the API writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _plain(pod: Object) -> list[dict[str, Any]]:
    found = (pod.get("status") or {}).get("conditions") or []
    keys = ("type", "status", "reason", "message")
    return [{k: c[k] for k in keys if k in c} for c in found]


def _conditions(ready: bool) -> list[dict[str, Any]]:
    status = "True" if ready else "False"
    kinds = {"PodScheduled": "True", "Initialized": "True", "ContainersReady": status}
    return [
        {"type": kind, "status": value, "lastTransitionTime": now()}
        for kind, value in {**kinds, "Ready": status}.items()
    ]


def _containers(pod: Object, state: Callable[[str], dict[str, Any]], ready: bool) -> list[Object]:
    return [
        {
            "name": c["name"],
            "image": c.get("image", ""),
            "imageID": "",
            "ready": ready,
            "started": ready,
            "restartCount": 0,
            "state": state(c["name"]),
        }
        for c in pod["spec"]["containers"]
    ]


def running(pod: Object, restarts: int = 0) -> dict[str, Any]:
    """The status of a pod that runs and is ready."""
    statuses = _containers(pod, lambda name: {"running": {"startedAt": now()}}, True)
    return {
        "phase": "Running",
        "hostIP": "127.0.0.1",
        "podIP": "10.1.0.1",
        "podIPs": [{"ip": "10.1.0.1"}],
        "startTime": now(),
        "conditions": _conditions(True),
        "containerStatuses": [{**s, "restartCount": restarts} for s in statuses],
    }


def _pending(pod: Object, refusal: Refusal) -> dict[str, Any]:
    reason, message = refusal
    state = {"waiting": {"reason": reason, "message": message}}
    return {
        "phase": "Pending",
        "conditions": _conditions(False),
        "containerStatuses": _containers(pod, lambda name: state, False),
    }


def _ended(pod: Object, codes: dict[str, int]) -> dict[str, Any]:
    def state(name: str) -> dict[str, Any]:
        code = codes.get(name, 0)
        reason = "Error" if code else "Completed"
        return {"terminated": {"exitCode": code, "reason": reason, "finishedAt": now()}}

    return {
        "phase": "Failed" if any(codes.values()) else "Succeeded",
        "conditions": _conditions(False),
        "containerStatuses": _containers(pod, state, False),
    }
