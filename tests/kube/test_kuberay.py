from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from astroctl.kube.client import Kube, Object
from astroctl.kube.resources import POD, RAYCLUSTER, RAYJOB, RAYSERVICE, SECRET, SERVICE
from tests.kube.heads import Script
from tests.kube.kuberay import FINALIZER, KubeRay
from tests.kube.objects import eventually, gone
from tests.kube.plane import Plane


def group(**more: Any) -> Object:
    container = {"name": "ray", "image": "ray"}
    return {"template": {"spec": {"containers": [container]}}, "rayStartParams": {}, **more}


def rayjob(namespace: str, name: str = "job-0-1", **spec: Any) -> Object:
    worker = group(groupName="workers", replicas=2, minReplicas=2, maxReplicas=2)
    cluster = {"rayVersion": "2.60.0", "headGroupSpec": group(), "workerGroupSpecs": [worker]}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": name, "namespace": namespace, "labels": {"mine": "yes"}},
        "spec": {
            "entrypoint": "true",
            "jobId": name,
            "submissionMode": "HTTPMode",
            "shutdownAfterJobFinishes": True,
            "rayClusterSpec": cluster,
            **spec,
        },
    }


@pytest.fixture
def until(kube: Kube, namespace: str) -> Callable[..., Object]:
    def wait(state: str, name: str = "job-0-1") -> Object:
        def reached() -> bool:
            status = kube.get(RAYJOB, name, namespace).get("status") or {}
            return bool(status.get("jobDeploymentStatus") == state)

        eventually(reached)
        status: Object = kube.get(RAYJOB, name, namespace)["status"]
        return status

    return wait


def test_a_job_goes_through_its_states(
    kube: Kube, namespace: str, kuberay: KubeRay, until: Any
) -> None:
    kuberay.script = Script(seconds=1)
    kube.create(rayjob(namespace, ttlSecondsAfterFinished=1))
    status = until("Running")
    cluster = kube.get(RAYCLUSTER, status["rayClusterName"], namespace)
    assert cluster["metadata"]["ownerReferences"][0]["kind"] == "RayJob"
    pods = kube.list(POD, namespace, labels=f"ray.io/cluster={status['rayClusterName']}")
    kinds = sorted(p["metadata"]["labels"]["ray.io/node-type"] for p in pods)
    assert kinds == ["head", "worker", "worker"]
    assert FINALIZER in kube.get(RAYJOB, "job-0-1", namespace)["metadata"]["finalizers"]
    status = until("Complete")
    assert status["jobStatus"] == "SUCCEEDED"
    assert status["succeeded"] == 1
    assert [s for _, s in kuberay.seen] == ["Initializing", "Running", "Complete"]
    eventually(lambda: gone(kube, RAYCLUSTER, status["rayClusterName"], namespace))
    eventually(lambda: not kube.list(POD, namespace))


def test_a_failed_job_is_tried_again_as_often_as_it_may(
    kube: Kube, namespace: str, kuberay: KubeRay, until: Any
) -> None:
    kuberay.script = Script(seconds=0, status="FAILED", message="boom")
    kube.create(rayjob(namespace, backoffLimit=1))
    eventually(lambda: kuberay.seen.count(("job-0-1", "Running")) == 2)
    status = until("Failed")
    assert (status["reason"], status["message"], status["failed"]) == ("AppFailed", "boom", 2)


def test_suspending_removes_the_cluster_and_stops_no_job(
    kube: Kube, namespace: str, kuberay: KubeRay, until: Any
) -> None:
    kuberay.script = Script(seconds=float("inf"))
    kube.create(rayjob(namespace))
    cluster = until("Running")["rayClusterName"]
    kube.patch(RAYJOB, "job-0-1", {"spec": {"suspend": True}}, namespace)
    until("Suspended")
    assert gone(kube, RAYCLUSTER, cluster, namespace)
    assert kuberay.scripted.stopped == []
    kube.patch(RAYJOB, "job-0-1", {"spec": {"suspend": False}}, namespace)
    assert until("Running")["rayClusterName"] != cluster


def test_deleting_stops_the_job(
    kube: Kube, namespace: str, kuberay: KubeRay, until: Any, plane: Plane
) -> None:
    kuberay.script = Script(seconds=float("inf"))
    kube.create(rayjob(namespace))
    cluster = until("Running")["rayClusterName"]
    eventually(lambda: kube.get(RAYJOB, "job-0-1", namespace)["status"].get("jobStatus"))
    kube.delete(RAYJOB, "job-0-1", namespace)
    eventually(lambda: gone(kube, RAYJOB, "job-0-1", namespace))
    assert kuberay.scripted.stopped == ["job-0-1"]
    if plane.has_controllers:
        eventually(lambda: gone(kube, RAYCLUSTER, cluster, namespace))
        eventually(lambda: not kube.list(POD, namespace))


def test_a_lost_head_means_the_job_is_submitted_again(
    kube: Kube, namespace: str, kuberay: KubeRay, until: Any
) -> None:
    kuberay.script = Script(seconds=float("inf"))
    kube.create(rayjob(namespace))
    until("Running")
    eventually(lambda: kuberay.scripted.submitted == ["job-0-1"])
    head = kube.list(POD, namespace, labels="ray.io/node-type=head")[0]["metadata"]["name"]
    kube.delete(POD, head, namespace)
    eventually(lambda: len(kuberay.scripted.submitted) == 2)


def test_a_silent_dashboard_fails_the_job(
    kube: Kube, namespace: str, kuberay: KubeRay, until: Any
) -> None:
    kuberay.status_check_seconds = 1
    kuberay.script = Script(reachable=False)
    kube.create(rayjob(namespace))
    assert until("Failed")["reason"] == "JobStatusCheckTimeoutExceeded"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "a" * 48}, "no more than 47 characters"),
        ({"suspend": True, "shutdownAfterJobFinishes": False}, "not allowed to be suspended"),
        ({"rayClusterSpec": None}, "exactly one of"),
    ],
)
def test_what_kuberay_refuses(
    kube: Kube, namespace: str, kuberay: KubeRay, until: Any, changes: Any, message: str
) -> None:
    made = kube.create(rayjob(namespace, **changes))
    status = until("ValidationFailed", made["metadata"]["name"])
    assert message in status["message"]


def test_the_dashboard_wants_the_token_and_tells_the_figures(
    kube: Kube, namespace: str, kuberay: KubeRay, until: Any
) -> None:
    kuberay.script = Script(seconds=60, progress=lambda elapsed: {"step": 7})
    meta = {"name": "token", "namespace": namespace}
    secret = {"apiVersion": "v1", "kind": SECRET.kind, "stringData": {"auth_token": "s3cret"}}
    kube.create({**secret, "metadata": meta})
    job = rayjob(namespace)
    job["spec"]["rayClusterSpec"]["authOptions"] = {"mode": "token", "secretName": "token"}
    kube.create(job)
    url = f"http://{until('Running')['dashboardURL']}"
    eventually(lambda: kube.get(RAYJOB, "job-0-1", namespace)["status"].get("jobStatus"))
    assert httpx.get(f"{url}/api/jobs/job-0-1").status_code == 401
    headers = {"Authorization": "Bearer s3cret"}
    told = httpx.get(f"{url}/api/jobs/job-0-1", headers=headers).json()
    query = {"node_id": told["driver_node_id"], "filename": "astrosage-progress.json"}
    answer = httpx.get(f"{url}/api/v0/logs/file", params=query, headers=headers)
    assert '{"step": 7}' in answer.text


def test_a_service_is_upgraded_to_a_second_cluster(
    kube: Kube, namespace: str, kuberay: KubeRay
) -> None:
    kuberay.script = Script(seconds=0.3)
    config = "applications: [{name: chat, import_path: 'a:b'}]"
    cluster = rayjob(namespace)["spec"]["rayClusterSpec"]
    meta = {"name": "chat", "namespace": namespace}
    kube.create(
        {
            "apiVersion": "ray.io/v1",
            "kind": "RayService",
            "metadata": meta,
            "spec": {"serveConfigV2": config, "rayClusterConfig": cluster},
        }
    )

    def active() -> str:
        status = kube.get(RAYSERVICE, "chat", namespace).get("status") or {}
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status["conditions"])
        return str(status["activeServiceStatus"]["rayClusterName"]) if ready else ""

    first = eventually(lambda: _or_empty(active))
    cluster["headGroupSpec"]["rayStartParams"] = {"num-cpus": "0"}
    kube.patch(RAYSERVICE, "chat", {"spec": {"rayClusterConfig": cluster}}, namespace)
    second = eventually(lambda: _or_empty(lambda: active().replace(first, "")))
    assert second != first
    service = kube.get(SERVICE, "chat-serve-svc", namespace)
    assert service["spec"]["selector"]["ray.io/cluster"] == second
    eventually(lambda: gone(kube, RAYCLUSTER, first, namespace))


def _or_empty(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except KeyError:
        return ""
