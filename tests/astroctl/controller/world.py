"""One namespace of a real API server, looked at step by step, with a clock that the test turns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from astroctl.controller.conditions import find
from astroctl.controller.reconcile import Reconciler
from astroctl.controller.store import Store
from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import ApiError, Missing
from astroctl.kube.resources import ASTROJOB, EVENT, RAYJOB
from astroctl.kube.times import timestamp
from astroctl.render.settings import Settings
from astrosage.errors import ClusterError

RETRY = "astrosage.io/retry"


def job(namespace: str, name: str = "one", **spec: Any) -> Object:
    stages = [
        {"name": "corpus", "prepare": {"sources": [{"path": "s3://texts/*.md"}]}},
        {"name": "cpt", "train": {"objective": "cpt", "data": "corpus", "maxSteps": 10}},
    ]
    return {
        "apiVersion": "astrosage.io/v1alpha1",
        "kind": "AstroJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"model": "org/model", "storage": "s3://bucket/runs", "stages": stages, **spec},
    }


class FakeDashboard:
    """What the driver says, and what it was told; the test sets the one and reads the other."""

    def __init__(self) -> None:
        self.told: dict[str, Any] | None = None
        self.stopped: list[str] = []
        self.answers = True

    def __call__(self, address: str, token: str | None) -> FakeDashboard:
        assert token
        return self

    def progress(self, submission_id: str) -> dict[str, Any] | None:
        if not self.answers:
            raise ClusterError("the head does not answer")
        return self.told

    def stop(self, submission_id: str) -> None:
        if not self.answers:
            raise ClusterError("the head does not answer")
        self.stopped.append(submission_id)


class World:
    def __init__(self, kube: Kube, namespace: str, settings: Settings | None = None) -> None:
        self.kube, self.namespace = kube, namespace
        self.now = 1_795_000_000.0
        self.dashboard = FakeDashboard()
        self.settings = settings or Settings()
        self.calls: list[str] = []
        self.restart()

    def restart(self) -> None:
        """As a new operator, which remembers nothing."""
        self.store = Store()
        self.reconciler = Reconciler(
            self.kube,
            self.store,
            self.settings,
            clock=lambda: self.now,
            connect=self.dashboard,  # type: ignore[arg-type]
        )

    def submit(self, obj: Object | None = None, **spec: Any) -> str:
        made = self.kube.create(obj or job(self.namespace, **spec))
        return str(made["metadata"]["name"])

    def look(self, name: str = "one", seconds: float = 0.0) -> float | None:
        """Let time pass, see what is there, look at the job."""
        self.now += seconds
        self.see(name)
        return self.reconciler((self.namespace, name))

    def see(self, name: str = "one") -> None:
        try:
            self.store.put_job(self.kube.get(ASTROJOB, name, self.namespace))
        except Missing:
            self.store.drop_job({"metadata": {"namespace": self.namespace, "name": name}})
        there = {r["metadata"]["name"] for r in self.rayjobs()}
        for known in self.store.rayjobs((self.namespace, name), self.uid(name)):
            if known["metadata"]["name"] not in there:
                self.store.drop_rayjob(known)
        for rayjob in self.rayjobs():
            self.store.put_rayjob(rayjob)

    def uid(self, name: str = "one") -> str:
        found = self.kube.find(ASTROJOB, name, self.namespace)
        return str(found["metadata"]["uid"]) if found else ""

    def rayjobs(self) -> list[Object]:
        return self.kube.list(RAYJOB, self.namespace)

    def names(self) -> list[str]:
        return sorted(r["metadata"]["name"] for r in self.rayjobs())

    def status(self, name: str = "one") -> dict[str, Any]:
        found: dict[str, Any] = self.kube.get(ASTROJOB, name, self.namespace).get("status") or {}
        return found

    def condition(self, kind: str, name: str = "one") -> dict[str, Any]:
        found = find(self.status(name).get("conditions") or [], kind)
        assert found is not None, f"no condition {kind}: {self.status(name)}"
        return found

    def events(self) -> list[tuple[str, str]]:
        found = self.kube.list(EVENT, self.namespace)
        ours = [e for e in found if e["involvedObject"].get("kind") == "AstroJob"]
        return sorted((e["reason"], e["message"]) for e in ours)

    def change(self, name: str = "one", **spec: Any) -> None:
        self.kube.patch(ASTROJOB, name, {"spec": spec}, self.namespace)

    def annotate(self, key: str, value: str, name: str = "one") -> None:
        self.kube.patch(ASTROJOB, name, {"metadata": {"annotations": {key: value}}}, self.namespace)

    def kuberay(
        self, rayjob: str, deployment: str, job: str = "", ready: bool = True, **more: Any
    ) -> None:
        """Move a RayJob's status as KubeRay does."""
        workers = 1 if ready and job == "RUNNING" else 0
        status = {
            "jobDeploymentStatus": deployment,
            "jobStatus": job,
            "jobId": rayjob,
            "rayClusterName": f"{rayjob}-abcde",
            "dashboardURL": "head:8265",
            "startTime": timestamp(self.now),
            "rayClusterStatus": {
                "desiredWorkerReplicas": 1,
                "minWorkerReplicas": 1,
                "maxWorkerReplicas": 1,
                "readyWorkerReplicas": workers,
            },
            **more,
        }
        self.kube.patch(RAYJOB, rayjob, {"status": status}, self.namespace, subresource="status")

    def run(self, rayjob: str) -> None:
        self.kuberay(rayjob, "Running", "RUNNING")

    @contextmanager
    def counting(self) -> Iterator[list[str]]:
        """The requests that are made meanwhile."""
        request, made = self.kube.request, []  # type: ignore[var-annotated]

        def counted(method: str, path: str, *rest: Any, **options: Any) -> Any:
            made.append(f"{method} {path}")
            return request(method, path, *rest, **options)

        self.kube.request = counted  # type: ignore[method-assign]
        try:
            yield made
        finally:
            del self.kube.request  # type: ignore[method-assign]

    @contextmanager
    def dying_after(self, requests: int) -> Iterator[None]:
        """Every request after the n-th fails, as if the operator had died."""
        request, left = self.kube.request, [requests]

        def limited(method: str, *rest: Any, **options: Any) -> Any:
            if left[0] == 0:
                raise ApiError("the operator died here")
            left[0] -= 1
            return request(method, *rest, **options)

        self.kube.request = limited  # type: ignore[method-assign]
        try:
            yield
        finally:
            del self.kube.request  # type: ignore[method-assign]


def progress(stage: str = "cpt", step: int = 3, **more: Any) -> dict[str, Any]:
    """A driver's account."""
    return {
        "phase": "running",
        "stage": stage,
        "step": step,
        "total": 10,
        "unit": "steps",
        "loss": 2.5,
        "tokensPerSecond": 1000.0,
        "stages": [
            {"name": "corpus", "kind": "prepare", "phase": "finished", "seconds": 4.0},
            {"name": "cpt", "kind": "train", "phase": "running", "seconds": None},
        ],
        **more,
    }
