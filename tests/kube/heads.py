"""Ray heads as the stand-in for KubeRay needs them, and scripted ones behind a small dashboard.

A scripted head answers the Jobs API and the log file with the driver's figures, as a real
dashboard does; what happens to a job is written in a :class:`Script`.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import Missing
from astroctl.kube.resources import SECRET
from tests.kube.dashboard import Dashboard, told


@dataclass
class Script:
    """What happens to a RayJob.

    Attributes:
        boot: Seconds until the pods of its cluster are ready.
        seconds: How long the job runs; infinity hangs.
        status: How it ends: SUCCEEDED or FAILED.
        message: What Ray says of a failure.
        progress: The driver's account (progress.json) after so many seconds; None: not yet.
        stop_seconds: How long it takes to end when asked to stop.
        reachable: Whether the dashboard answers.
        applications: What becomes of Serve applications: RUNNING, or DEPLOY_FAILED with
            ``message``; ``seconds`` is then how long they deploy.
    """

    boot: float = 0.0
    seconds: float = 0.5
    status: str = "SUCCEEDED"
    message: str = ""
    progress: Callable[[float], dict[str, Any] | None] = lambda elapsed: None
    stop_seconds: float = 0.0
    reachable: bool = True
    applications: str = "RUNNING"


class Unreachable(Exception):
    """The head's dashboard does not answer."""


class Heads(Protocol):
    """Whatever can stand for the Ray heads of clusters."""

    def boot_seconds(self, cluster: Object) -> float:
        """How long the pods of a cluster take at least."""

    def start(self, cluster: Object) -> None:
        """A cluster's head pod runs."""

    def address(self, cluster: Object) -> str | None:
        """Where its dashboard answers; None before it does."""

    def stop(self, cluster: Object) -> None:
        """The head pod is gone. Stopping what does not run is no error."""

    def lose_worker(self, cluster: Object) -> None:
        """A worker pod is gone."""

    def job(self, cluster: Object, job_id: str) -> dict[str, Any] | None:
        """What the dashboard says of a job; None if it knows none; may be Unreachable."""

    def submit(self, cluster: Object, rayjob: Object, job_id: str) -> None:
        """Give it a job."""

    def stop_job(self, cluster: Object, job_id: str) -> None:
        """Ask a job to end."""

    def serve(self, cluster: Object, config: dict[str, Any]) -> None:
        """Deploy Serve applications; may be Unreachable."""

    def applications(self, cluster: Object) -> dict[str, Any]:
        """Their statuses, as a RayService has them; may be Unreachable."""

    def close(self) -> None:
        """End everything."""


@dataclass
class ScriptedJob:
    """A job that only a script knows."""

    script: Script
    began: float
    stop_at: float | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since it was submitted."""
        return time.monotonic() - self.began

    def status(self) -> str:
        """What Ray would say of it."""
        now = time.monotonic()
        ends = self.began + self.script.seconds
        if self.stop_at is not None and self.stop_at < ends:
            return "STOPPED" if now >= self.stop_at else "RUNNING"
        return self.script.status if now >= ends else "RUNNING"


@dataclass
class ScriptedHead:
    """A head that only exists here."""

    cluster: Object
    token: str | None
    jobs: dict[str, ScriptedJob] = field(default_factory=dict)
    serving: dict[str, float] = field(default_factory=dict)


class ScriptedHeads:
    """Heads of many clusters, all behind one port: a job's id tells which one is meant.

    Args:
        kube: Where tokens are read.
        script: What happens to a RayJob.

    Attributes:
        submitted: Ids of jobs as they were submitted, repeats included.
        stopped: Ids of jobs that were asked to end.
    """

    def __init__(self, kube: Kube, script: Callable[[Object], Script]) -> None:
        self._kube, self._script = kube, script
        self._heads: dict[str, ScriptedHead] = {}
        self.submitted: list[str] = []
        self.stopped: list[str] = []
        self._dashboard = Dashboard(self)
        self._dashboard.start()

    def boot_seconds(self, cluster: Object) -> float:
        return self._script(_rayjob_of(cluster)).boot

    def start(self, cluster: Object) -> None:
        uid = cluster["metadata"]["uid"]
        if uid not in self._heads:
            self._heads[uid] = ScriptedHead(cluster, token_of(self._kube, cluster))

    def address(self, cluster: Object) -> str | None:
        return self._dashboard.address if cluster["metadata"]["uid"] in self._heads else None

    def stop(self, cluster: Object) -> None:
        self._heads.pop(cluster["metadata"]["uid"], None)

    def lose_worker(self, cluster: Object) -> None:
        """Nothing: training goes on with another worker."""

    def job(self, cluster: Object, job_id: str) -> dict[str, Any] | None:
        head = self._reach(cluster)
        job = head.jobs.get(job_id)
        return None if job is None else told(job_id, job)

    def submit(self, cluster: Object, rayjob: Object, job_id: str) -> None:
        head = self._reach(cluster)
        self.submitted.append(job_id)
        head.jobs[job_id] = ScriptedJob(self._script(rayjob), time.monotonic())

    def stop_job(self, cluster: Object, job_id: str) -> None:
        self.end_job(self._reach(cluster), job_id)

    def serve(self, cluster: Object, config: dict[str, Any]) -> None:
        head = self._reach(cluster)
        head.serving = {a["name"]: time.monotonic() for a in config["applications"]}

    def applications(self, cluster: Object) -> dict[str, Any]:
        script = self._script(_rayjob_of(cluster))
        return {
            name: {
                "status": script.applications
                if time.monotonic() - began >= script.seconds
                else "DEPLOYING",
                "message": script.message,
            }
            for name, began in self._reach(cluster).serving.items()
        }

    def close(self) -> None:
        self._dashboard.stop()

    def _reach(self, cluster: Object) -> ScriptedHead:
        head = self._heads.get(cluster["metadata"]["uid"])
        if head is None or not self._script(_rayjob_of(cluster)).reachable:
            raise Unreachable
        return head

    def all(self) -> list[ScriptedHead]:
        """Those that run."""
        return list(self._heads.values())

    def end_job(self, head: ScriptedHead, job_id: str) -> bool:
        """Ask a job to end; tells whether there is one."""
        job = head.jobs.get(job_id)
        if job is None:
            return False
        self.stopped.append(job_id)
        if job.stop_at is None:
            job.stop_at = time.monotonic() + job.script.stop_seconds
        return True


def _rayjob_of(cluster: Object) -> Object:
    """What a script may want to know of the RayJob whose cluster this is."""
    owner = next(iter(cluster["metadata"].get("ownerReferences") or []), {"name": ""})
    meta = cluster["metadata"]
    return {
        "kind": owner.get("kind", "RayJob"),
        "metadata": {**meta, "name": owner["name"], "labels": meta.get("labels") or {}},
        "spec": {"rayClusterSpec": cluster["spec"]},
    }


def token_of(kube: Kube, cluster: Object) -> str | None:
    """The token that a cluster's dashboard wants; None if it wants none."""
    options = cluster["spec"].get("authOptions") or {}
    if options.get("mode") != "token":
        return None
    name = options.get("secretName") or cluster["metadata"]["name"]
    try:
        data = kube.get(SECRET, name, cluster["metadata"]["namespace"])["data"]
    except Missing:
        return None
    return base64.b64decode(data["auth_token"]).decode()
