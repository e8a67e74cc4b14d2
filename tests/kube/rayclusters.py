"""The RayCluster half of the stand-in for KubeRay: pods, services and status of Ray clusters."""

from __future__ import annotations

import contextlib
import copy
import secrets
import threading
import time
from typing import Any

from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import AlreadyExists, Missing
from astroctl.kube.resources import POD, RAYCLUSTER, SERVICE
from astrosage.errors import AstroError
from tests.kube.heads import Heads
from tests.kube.kubelet import now, running
from tests.kube.watcher import Watcher

CLUSTER, NODE_TYPE, GROUP = "ray.io/cluster", "ray.io/node-type", "ray.io/group"
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


def suffix() -> str:
    """Five letters, as generated names end with."""
    return "".join(secrets.choice(_LETTERS) for _ in range(5))


class RayClusters:
    """Keeps the pods of every RayCluster as its spec says, and their heads running.

    Args:
        kube: The administrator's client.
        namespace: Where; None: everywhere.
        heads: What stands for Ray.
        marks_pods: Whether pods are marked as running from here; otherwise a kubelet does it.
        pods: Whether there are objects at all; without, clusters are known only here, and ready
            after their boot time.
    """

    def __init__(
        self, kube: Kube, namespace: str | None, heads: Heads, *, marks_pods: bool, pods: bool
    ) -> None:
        self._kube, self._heads = kube, heads
        self._marks_pods, self._with_pods = marks_pods, pods
        self._lock = threading.RLock()
        self._clusters: dict[tuple[str, str], Object] = {}
        self._since: dict[tuple[str, str], tuple[str, str]] = {}
        self._lost_pods: set[str] = set()
        self._pods: dict[str, dict[str, Object]] = {}
        self._born: dict[str, float] = {}
        self._told: dict[str, Any] = {}
        self._watchers: list[Watcher] = []
        if pods:
            self._watchers = [
                Watcher(kube, RAYCLUSTER, namespace, self._see_cluster),
                Watcher(kube, POD, namespace, self._see_pod, CLUSTER),
            ]

    def start(self) -> None:
        """Begin."""
        for watcher in self._watchers:
            watcher.start()

    def stop(self) -> None:
        """End; the objects stay."""
        for watcher in self._watchers:
            watcher.stop()

    def find(self, namespace: str, name: str) -> Object | None:
        """A cluster."""
        with self._lock:
            return self._clusters.get((namespace, name))

    def create(self, owner: Object, name: str, spec: Object) -> Object:
        """Make the cluster of a RayJob or RayService, or find it made."""
        meta = owner["metadata"]
        labels = {
            **(meta.get("labels") or {}),
            "ray.io/originated-from-cr-name": meta["name"],
            "ray.io/originated-from-crd": owner["kind"],
        }
        cluster: Object = {
            "apiVersion": RAYCLUSTER.api_version,
            "kind": RAYCLUSTER.kind,
            "metadata": {
                "name": name,
                "namespace": meta["namespace"],
                "labels": labels,
                "annotations": meta.get("annotations") or {},
                "ownerReferences": [reference(owner)],
            },
            "spec": spec,
        }
        if not self._with_pods:
            cluster["metadata"] |= {"uid": name, "resourceVersion": "1"}
        try:
            made = self._kube.create(cluster) if self._with_pods else cluster
        except AlreadyExists:
            made = self._kube.get(RAYCLUSTER, name, meta["namespace"])
        with self._lock:
            self._note(made)
        return made

    def delete(self, namespace: str, name: str) -> bool:
        """Remove a cluster; tells whether it is gone with its pods."""
        if not self._with_pods:
            self._drop(namespace, name)
            return True
        with contextlib.suppress(Missing):
            self._kube.delete(RAYCLUSTER, name, namespace)
        return self.find(namespace, name) is None

    def forget(self, owner: Object) -> None:
        """The owner of a cluster is gone; where clusters are objects, they are collected."""
        name = (owner.get("status") or {}).get("rayClusterName")
        if name and not self._with_pods:
            self._drop(owner["metadata"]["namespace"], name)

    def _drop(self, namespace: str, name: str) -> None:
        with self._lock:
            cluster = self._clusters.pop((namespace, name), None)
        if cluster is not None:
            self._heads.stop(cluster)

    def is_ready(self, cluster: Object) -> bool:
        """Whether all pods that it asks for are ready."""
        return bool(self._told.get(cluster["metadata"]["uid"], {}).get("state") == "ready")

    def pods_of(self, cluster: Object, node_type: str | None = None) -> list[Object]:
        """Its pods that are not on their way out."""
        with self._lock:
            found = list(self._pods.get(cluster["metadata"]["name"], {}).values())
        return [
            p
            for p in found
            if p["metadata"]["namespace"] == cluster["metadata"]["namespace"]
            and "deletionTimestamp" not in p["metadata"]
            and node_type in (None, p["metadata"]["labels"].get(NODE_TYPE))
        ]

    def tick(self) -> None:
        """Do for every cluster what is due."""
        with self._lock:
            clusters = list(self._clusters.values())
        for cluster in clusters:
            with contextlib.suppress(AstroError):
                self._tend(cluster)

    # -- what is seen ----------------------------------------------------------------------------

    def _see_cluster(self, change: str, cluster: Object) -> None:
        with self._lock:
            if change == "DELETED":
                self._clusters.pop(_key(cluster), None)
                self._told.pop(cluster["metadata"]["uid"], None)
            else:
                self._note(cluster)
        if change == "DELETED":
            self._heads.stop(cluster)
            self._remove_pods(cluster)

    def _note(self, cluster: Object) -> None:
        known = self._clusters.get(_key(cluster))
        if known is None or is_newer(cluster, known):
            self._clusters[_key(cluster)] = cluster
        self._born.setdefault(cluster["metadata"]["uid"], time.monotonic())

    def _see_pod(self, change: str, pod: Object) -> None:
        labels, name = pod["metadata"]["labels"], pod["metadata"]["name"]
        with self._lock:
            known = self._pods.setdefault(labels[CLUSTER], {})
            before = known.get(name)
            if change == "DELETED":
                known.pop(name, None)
            elif before is None or is_newer(pod, before):
                known[name] = pod
        leaving = "deletionTimestamp" in pod["metadata"]
        phase = (pod.get("status") or {}).get("phase")
        if change == "DELETED" or leaving or phase in ("Failed", "Succeeded"):
            self._lost(pod)
        if leaving and change != "DELETED" and self._marks_pods:
            self._let_go(pod)

    def _lost(self, pod: Object) -> None:
        meta = pod["metadata"]
        cluster = self.find(meta["namespace"], meta["labels"][CLUSTER])
        if cluster is None or not was_ready(pod) or meta["uid"] in self._lost_pods:
            return
        self._lost_pods.add(meta["uid"])
        if meta["labels"][NODE_TYPE] == "head":
            self._heads.stop(cluster)
        else:
            self._heads.lose_worker(cluster)

    def _let_go(self, pod: Object) -> None:
        """What a kubelet does at the end of a pod's grace period."""
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
        with contextlib.suppress(AstroError):
            meta = pod["metadata"]
            self._kube.request("DELETE", POD.path(meta["namespace"], meta["name"]), options)

    # -- what is done ----------------------------------------------------------------------------

    def _tend(self, cluster: Object) -> None:
        if "deletionTimestamp" in cluster["metadata"]:
            return
        uid = cluster["metadata"]["uid"]
        booted = time.monotonic() - self._born[uid] >= self._heads.boot_seconds(cluster)
        if cluster["spec"].get("suspend"):
            self._heads.stop(cluster)
            self._remove_pods(cluster)
            self._tell(cluster, {"state": "suspended"})
            return
        if self._with_pods:
            self._make_pods(cluster)
            self._replace_failed(cluster)
            if booted and self._marks_pods:
                self._mark_running(cluster)
        heads = [p for p in self.pods_of(cluster, "head") if is_ready(p)]
        if heads if self._with_pods else booted:
            self._heads.start(cluster)
        self._tell(cluster, self._status(cluster, booted))

    def _make_pods(self, cluster: Object) -> None:
        head, groups = cluster["spec"]["headGroupSpec"], cluster["spec"].get("workerGroupSpecs")
        if not self.pods_of(cluster, "head"):
            if not self._kube.find(SERVICE, _head_service(cluster), _namespace(cluster)):
                self._kube.create(_service(cluster))
            self._make_pod(cluster, head["template"], "head", "headgroup")
        for group in groups or []:
            name = group["groupName"]
            there = [
                p for p in self.pods_of(cluster, "worker") if p["metadata"]["labels"][GROUP] == name
            ]
            for _ in range(_wanted(group) - len(there)):
                self._make_pod(cluster, group["template"], "worker", name)

    def _make_pod(self, cluster: Object, template: Object, node_type: str, group: str) -> None:
        meta, own = template.get("metadata") or {}, cluster["metadata"]["name"]
        kind = "head" if node_type == "head" else f"{group}-worker"
        labels = {
            **(meta.get("labels") or {}),
            "app.kubernetes.io/name": "kuberay",
            "app.kubernetes.io/created-by": "kuberay-operator",
            "ray.io/is-ray-node": "yes",
            "ray.io/identifier": f"{own}-{node_type}",
            CLUSTER: own,
            NODE_TYPE: node_type,
            GROUP: group,
        }
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{own}-{kind}-{suffix()}",
                "namespace": _namespace(cluster),
                "labels": labels,
                "annotations": meta.get("annotations") or {},
                "ownerReferences": [reference(cluster)],
            },
            "spec": copy.deepcopy(template["spec"]),
        }
        container = pod["spec"]["containers"][0]
        more = {"RAY_CLUSTER_NAME": own, "RAY_PORT": "6379", "RAY_ADDRESS": "127.0.0.1:6379"}
        container["env"] = (container.get("env") or []) + [
            {"name": n, "value": v} for n, v in more.items()
        ]
        self._see_pod("ADDED", self._kube.create(pod))

    def _replace_failed(self, cluster: Object) -> None:
        """Pods that ended are deleted, and made again at the next look."""
        for pod in self.pods_of(cluster):
            if (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded"):
                self._kube.delete(POD, pod["metadata"]["name"], _namespace(pod))

    def _mark_running(self, cluster: Object) -> None:
        for pod in self.pods_of(cluster):
            if (pod.get("status") or {}).get("phase") != "Pending":
                continue
            meta = pod["metadata"]
            status = {"status": running(pod)}
            marked = self._kube.patch(POD, meta["name"], status, meta["namespace"], "status")
            self._see_pod("MODIFIED", marked)

    def _remove_pods(self, cluster: Object) -> None:
        for pod in self.pods_of(cluster):
            with contextlib.suppress(AstroError):
                self._kube.delete(POD, pod["metadata"]["name"], _namespace(pod))
        with contextlib.suppress(AstroError):
            if self._with_pods:
                self._kube.delete(SERVICE, _head_service(cluster), _namespace(cluster))

    def _status(self, cluster: Object, booted: bool) -> dict[str, Any]:
        workers = self.pods_of(cluster, "worker")
        ready = [p for p in workers if is_ready(p)]
        wanted = sum(_wanted(g) for g in cluster["spec"].get("workerGroupSpecs") or [])
        heads = self.pods_of(cluster, "head")
        head_ready = bool(heads) and is_ready(heads[0]) if self._with_pods else booted
        count = len(ready) if self._with_pods else wanted if booted else 0
        whole = head_ready and count >= wanted
        conditions = [
            _condition("HeadPodReady", head_ready, "HeadPodRunningAndReady", "HeadPodNotReady"),
            _condition(
                "RayClusterProvisioned", whole, "AllPodRunningAndReadyFirstTime", "PodsProvisioning"
            ),
        ]
        status: dict[str, Any] = {
            "desiredWorkerReplicas": wanted,
            "availableWorkerReplicas": count,
            "readyWorkerReplicas": count,
            "minWorkerReplicas": wanted,
            "maxWorkerReplicas": wanted,
            "head": {"serviceName": _head_service(cluster)},
            "endpoints": {"dashboard": "8265", "client": "10001", "gcs-server": "6379"},
            "conditions": conditions,
        }
        before = self._told.get(cluster["metadata"]["uid"], {}).get("state")
        # Once ready it stays so, as KubeRay has it, though a worker goes.
        if whole or (before == "ready" and head_ready):
            status["state"] = "ready"
        if heads:
            status["head"]["podName"] = heads[0]["metadata"]["name"]
        return status

    def _tell(self, cluster: Object, status: dict[str, Any]) -> None:
        uid, meta = cluster["metadata"]["uid"], cluster["metadata"]
        if self._told.get(uid) == status:
            return
        told = copy.deepcopy(status)
        for condition in told.get("conditions") or []:
            key = (uid, condition["type"])
            if self._since.get(key, ("", ""))[0] != condition["status"]:
                self._since[key] = (condition["status"], now())
            condition["lastTransitionTime"] = self._since[key][1]
        with contextlib.suppress(Missing):
            if self._with_pods:
                self._kube.patch(
                    RAYCLUSTER, meta["name"], {"status": told}, meta["namespace"], "status"
                )
            self._told[uid] = status


def _key(cluster: Object) -> tuple[str, str]:
    return cluster["metadata"]["namespace"], cluster["metadata"]["name"]


def _wanted(group: Object) -> int:
    if group.get("suspend"):
        return 0
    replicas = group.get("replicas")
    count = group.get("minReplicas", 0) if replicas is None else replicas
    return int(max(count, group.get("minReplicas") or 0) * (group.get("numOfHosts") or 1))


def _condition(kind: str, holds: bool, reason: str, otherwise: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": "True" if holds else "False",
        "reason": reason if holds else otherwise,
        "message": "",
    }


def _namespace(obj: Object) -> str:
    return str(obj["metadata"]["namespace"])


def _head_service(cluster: Object) -> str:
    return f"{cluster['metadata']['name']}-head-svc"


def _service(cluster: Object) -> Object:
    name = cluster["metadata"]["name"]
    ports = {"dashboard": 8265, "client": 10001, "gcs-server": 6379, "metrics": 8080, "serve": 8000}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": _head_service(cluster),
            "namespace": _namespace(cluster),
            "labels": {CLUSTER: name, NODE_TYPE: "head", "ray.io/identifier": f"{name}-head"},
            "ownerReferences": [reference(cluster)],
        },
        "spec": {
            "clusterIP": "None",
            "selector": {CLUSTER: name, NODE_TYPE: "head"},
            "ports": [{"name": n, "port": p} for n, p in ports.items()],
        },
    }


def reference(owner: Object) -> dict[str, Any]:
    """An owner reference to a controller."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_newer(one: Object, other: Object) -> bool:
    """Whether one version of an object was written after another."""
    versions = [int(o["metadata"]["resourceVersion"]) for o in (one, other)]
    return versions[0] > versions[1]


def is_ready(pod: Object) -> bool:
    """Whether a pod runs and is ready."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and (pod.get("status") or {}).get("phase") == "Running"


def was_ready(pod: Object) -> bool:
    """Whether a pod has ever run."""
    return bool((pod.get("status") or {}).get("startTime"))
