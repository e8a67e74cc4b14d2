"""A stand-in for the KubeRay operator: moves its objects as KubeRay 1.7 does.

It keeps to KubeRay's states and rules as far as they can be seen through the API: names and
validation, the finalizer, HTTPMode submission and its repetition, suspension (which stops no job),
deadlines, back-off, shutdown after the end, and what becomes of lost pods. Only its clock is
faster. What Ray itself does is a script, or a real Ray head.
"""

from __future__ import annotations

import contextlib
import copy
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import Changed, Missing
from astroctl.kube.resources import RAYJOB
from astrosage.errors import AstroError
from tests.kube.heads import Heads, Script, ScriptedHeads, Unreachable
from tests.kube.kubelet import now
from tests.kube.rayclusters import RayClusters, is_newer, suffix
from tests.kube.rayrules import problem
from tests.kube.rayservices import RayServices
from tests.kube.watcher import Watcher

FINALIZER = "ray.io/rayjob-finalizer"
_TERMINAL_JOB = ("STOPPED", "SUCCEEDED", "FAILED")
_NO_RETRY = ("DeadlineExceeded", "JobStatusCheckTimeoutExceeded")
Status = dict[str, Any]


class KubeRay:
    """The operator.

    Args:
        kube: The administrator's client.
        namespace: Whose objects it looks after; None: all.
        heads: Real ones, for example; default: scripted by ``scripts`` and ``script``.
        pods: Whether clusters are objects and have pods; without, thousands of jobs can be moved.
        marks_pods: Whether pods are marked as running here; False where a kubelet does that.
        tick: Seconds between looks (KubeRay: 3).

    Attributes:
        script: What happens to a RayJob.
        scripts: The same by the RayJob's name.
        status_check_seconds: For how long the dashboard may be silent (KubeRay: 300).
        seen: ``(name, jobDeploymentStatus)`` in the order in which they were written.
    """

    def __init__(
        self,
        kube: Kube,
        namespace: str | None = None,
        *,
        heads: Heads | None = None,
        pods: bool = True,
        marks_pods: bool = True,
        tick: float = 0.1,
    ) -> None:
        self._kube, self._tick = kube, tick
        self.script = Script()
        self.scripts: dict[str, Script] = {}
        self.status_check_seconds = 300.0
        self.seen: list[tuple[str, str]] = []
        self.heads = heads or ScriptedHeads(kube, self._script_of)
        self.clusters = RayClusters(kube, namespace, self.heads, marks_pods=marks_pods, pods=pods)
        self.services = RayServices(kube, namespace, self.clusters, self.heads)
        self._watcher = Watcher(kube, RAYJOB, namespace, self._see)
        self._jobs: dict[str, Object] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(4, "kuberay")
        self._thread = threading.Thread(target=self._loop, name="kuberay", daemon=True)

    @property
    def scripted(self) -> ScriptedHeads:
        """The heads, where they are scripted: what was submitted and stopped."""
        assert isinstance(self.heads, ScriptedHeads)
        return self.heads

    def start(self) -> KubeRay:
        """Begin."""
        self.clusters.start()
        self.services.start()
        self._watcher.start()
        self._thread.start()
        return self

    def stop(self) -> None:
        """End; the objects stay as they are, finalizers too."""
        self._stopping.set()
        self._thread.join()
        self._watcher.stop()
        self.services.stop()
        self.clusters.stop()
        self._pool.shutdown()
        self.heads.close()

    def _script_of(self, rayjob: Object) -> Script:
        return self.scripts.get(rayjob["metadata"]["name"], self.script)

    def _see(self, change: str, rayjob: Object) -> None:
        uid = rayjob["metadata"]["uid"]
        with self._lock:
            known = self._jobs.get(uid)
            if change == "DELETED":
                self._jobs.pop(uid, None)
                self.clusters.forget(rayjob)
            elif known is None or is_newer(rayjob, known):
                self._jobs[uid] = rayjob

    def _loop(self) -> None:
        while not self._stopping.wait(self._tick):
            with self._lock:
                jobs = list(self._jobs.values())
            list(self._pool.map(self._look, jobs))
            self.clusters.tick()
            self.services.tick()

    def _look(self, rayjob: Object) -> None:
        with contextlib.suppress(AstroError):
            Look(self, self._kube, rayjob).run()

    def noted(self, rayjob: Object) -> None:
        """An object as it was written."""
        self._see("MODIFIED", rayjob)


class Look:
    """One look at one RayJob."""

    def __init__(self, operator: KubeRay, kube: Kube, rayjob: Object) -> None:
        self._operator, self._kube, self._job = operator, kube, rayjob
        self._clusters, self._heads = operator.clusters, operator.heads
        self._meta, self._spec = rayjob["metadata"], rayjob["spec"]
        self._status: Status = copy.deepcopy(rayjob.get("status") or {})
        self._namespace, self._name = self._meta["namespace"], self._meta["name"]

    def run(self) -> None:
        """Take one step."""
        if self._spec.get("managedBy") not in (None, "ray.io/kuberay-operator"):
            return
        if "deletionTimestamp" in self._meta:
            self._delete()
            return
        state = self._status.get("jobDeploymentStatus") or ""
        steps: dict[str, Callable[[], None]] = {
            "": self._new,
            "ValidationFailed": self._new,
            "Initializing": self._initializing,
            "Running": self._running,
            "Suspending": self._suspending,
            "Retrying": self._suspending,
            "Suspended": self._suspended,
            "Complete": self._ended,
            "Failed": self._ended,
        }
        steps[state]()
        self._count()
        self._write()

    # -- states ----------------------------------------------------------------------------------

    def _new(self) -> None:
        wrong = problem(self._job)
        if wrong:
            self._status |= {
                "jobDeploymentStatus": "ValidationFailed",
                "reason": "ValidationFailed",
                "message": wrong,
            }
            return
        self._add_finalizer()
        self._status |= {
            "jobId": self._status.get("jobId")
            or self._spec.get("jobId")
            or f"{self._name}-{suffix()}",
            "rayClusterName": self._status.get("rayClusterName") or f"{self._name}-{suffix()}",
            "jobDeploymentStatus": "Initializing",
            "startTime": now(),
            "reason": "",
            "message": "",
        }

    def _initializing(self) -> None:
        if self._suspends() or self._late("activeDeadlineSeconds", "DeadlineExceeded"):
            return
        if self._late("preRunningDeadlineSeconds", "PreRunningDeadlineExceeded"):
            return
        cluster = self._cluster()
        address = self._heads.address(cluster)
        if self._clusters.is_ready(cluster) and address:
            self._status |= {"dashboardURL": address, "jobDeploymentStatus": "Running"}

    def _running(self) -> None:
        if self._suspends() or self._late("activeDeadlineSeconds", "DeadlineExceeded"):
            return
        cluster, job_id = self._cluster(), self._status["jobId"]
        try:
            info = self._heads.job(cluster, job_id)
            if info is None:
                self._heads.submit(cluster, self._job, job_id)
        except Unreachable:
            self._unanswered()
            return
        self._status.pop("jobStatusCheckFailureStartTime", None)
        # A head that was lost and made again listens elsewhere here; KubeRay's have one name.
        self._status["dashboardURL"] = self._heads.address(cluster) or ""
        if info is None:
            return
        status = info["status"]
        self._status |= {
            "jobStatus": status,
            "message": info.get("message") or "",
            "rayJobInfo": _times(info),
        }
        if status in _TERMINAL_JOB:
            failed = status == "FAILED"
            self._status |= {
                "jobDeploymentStatus": "Failed" if failed else "Complete",
                "reason": "AppFailed" if failed else "",
            }

    def _suspending(self) -> None:
        """Suspending and retrying begin with removing the cluster; the job is not asked to end."""
        name = self._status.get("rayClusterName")
        if name and not self._clusters.delete(self._namespace, name):
            return
        retries = self._status["jobDeploymentStatus"] == "Retrying"
        kept: Status = {k: v for k, v in self._status.items() if k in ("failed", "succeeded")}
        self._status = {
            **kept,
            "jobStatus": "",
            "jobId": "",
            "rayClusterName": "",
            "dashboardURL": "",
            "reason": "",
            "message": "",
            "jobDeploymentStatus": "" if retries else "Suspended",
        }

    def _suspended(self) -> None:
        if not self._spec.get("suspend"):
            self._status |= {"jobStatus": "", "jobDeploymentStatus": ""}

    def _ended(self) -> None:
        if not self._spec.get("shutdownAfterJobFinishes") or self._spec.get("clusterSelector"):
            return
        ended = _seconds(self._status.get("endTime")) or 0
        if time.time() >= ended + (self._spec.get("ttlSecondsAfterFinished") or 0):
            name = self._status.get("rayClusterName") or ""
            if self._clusters.find(self._namespace, name):
                self._clusters.delete(self._namespace, name)

    def _delete(self) -> None:
        if FINALIZER not in (self._meta.get("finalizers") or []):
            return
        if self._status.get("jobStatus") not in _TERMINAL_JOB and self._status.get("jobId"):
            cluster = self._clusters.find(self._namespace, self._status.get("rayClusterName", ""))
            if cluster is not None:
                with contextlib.suppress(Unreachable):
                    self._heads.stop_job(cluster, self._status["jobId"])
        self._set_finalizers([f for f in self._meta["finalizers"] if f != FINALIZER])

    # -- parts -----------------------------------------------------------------------------------

    def _cluster(self) -> Object:
        name = self._status["rayClusterName"]
        found = self._clusters.find(self._namespace, name)
        return found or self._clusters.create(self._job, name, self._spec["rayClusterSpec"])

    def _suspends(self) -> bool:
        if self._spec.get("suspend"):
            self._status["jobDeploymentStatus"] = "Suspending"
        return bool(self._spec.get("suspend"))

    def _late(self, field: str, reason: str) -> bool:
        limit, began = self._spec.get(field), _seconds(self._status.get("startTime"))
        if limit is None or began is None or time.time() - began < limit:
            return False
        self._fail(reason, f"The RayJob has passed the {field}.")
        return True

    def _unanswered(self) -> None:
        since = self._status.setdefault("jobStatusCheckFailureStartTime", _precise())
        if time.time() - (_seconds(since) or 0) > self._operator.status_check_seconds:
            self._fail(
                "JobStatusCheckTimeoutExceeded", "The dashboard did not tell the job's status."
            )

    def _fail(self, reason: str, message: str) -> None:
        self._status |= {
            "jobDeploymentStatus": "Failed",
            "reason": reason,
            "message": message,
        }

    def _count(self) -> None:
        state = self._status.get("jobDeploymentStatus")
        if state == (self._job.get("status") or {}).get("jobDeploymentStatus"):
            return
        if state in ("Complete", "Failed"):
            self._status["endTime"] = now()
            done = state == "Complete" and self._status.get("jobStatus") == "SUCCEEDED"
            self._status["succeeded"] = self._status.get("succeeded", 0) + int(done)
            self._status["failed"] = self._status.get("failed", 0) + int(state == "Failed")
        limit = self._spec.get("backoffLimit") or 0
        allowed = limit and self._status.get("reason") not in _NO_RETRY
        if state == "Failed" and allowed and self._status["failed"] < limit + 1:
            self._status["jobDeploymentStatus"] = "Retrying"

    def _add_finalizer(self) -> None:
        finalizers = self._meta.get("finalizers") or []
        if FINALIZER not in finalizers:
            self._set_finalizers([*finalizers, FINALIZER])

    def _set_finalizers(self, wanted: list[str]) -> None:
        with contextlib.suppress(Missing):
            self._noted(self._patch({"metadata": {"finalizers": wanted}}))

    def _write(self) -> None:
        before = self._job.get("status") or {}
        if self._status == before:
            return
        self._status["observedGeneration"] = self._meta.get("generation")
        names = before.keys() | self._status.keys()
        changes = {n: self._status.get(n) for n in names if before.get(n) != self._status.get(n)}
        try:
            self._noted(self._patch({"status": changes}, "status"))
        except (Changed, Missing):
            return  # looked at again with what is there now
        state = self._status.get("jobDeploymentStatus") or ""
        if state != (before.get("jobDeploymentStatus") or ""):
            self._operator.seen.append((self._name, state))

    def _patch(self, changes: Object, subresource: str | None = None) -> Object:
        """Change the object unless someone else has."""
        version = {"resourceVersion": self._meta["resourceVersion"]}
        body = {**changes, "metadata": {**changes.get("metadata", {}), **version}}
        return self._kube.patch(RAYJOB, self._name, body, self._namespace, subresource)

    def _noted(self, written: Object) -> None:
        self._job, self._meta = written, written["metadata"]
        self._operator.noted(written)


def _times(info: dict[str, Any]) -> dict[str, str]:
    return {
        ours: datetime.fromtimestamp(info[theirs] / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for ours, theirs in (("startTime", "start_time"), ("endTime", "end_time"))
        if info.get(theirs)
    }


def _precise() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(time_text: str | None) -> float | None:
    return datetime.fromisoformat(time_text).timestamp() if time_text else None
