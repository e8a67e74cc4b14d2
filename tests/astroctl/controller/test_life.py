"""Whole lives of jobs: real operator processes, a real API server, a stand-in for KubeRay."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from astroctl.kube.client import Kube
from astroctl.kube.resources import ASTROJOB, EVENT, RAYJOB, SECRET
from tests.astroctl.controller.operators import Field, Maker
from tests.astroctl.controller.world import RETRY, job, progress
from tests.charts.rbac import install_rbac, remove_rbac
from tests.kube.heads import Script
from tests.kube.kuberay import KubeRay
from tests.kube.objects import eventually, gone
from tests.kube.plane import Plane, Unavailable

FOREVER = float("inf")


@pytest.fixture
def rights(kube: Kube, plane: Plane, namespace: str, tmp_path: Path) -> Iterator[Path]:
    """The kubeconfig of a service account that has the chart's rights and no others."""
    try:
        path = install_rbac(kube, plane, namespace, tmp_path)
    except Unavailable as error:
        pytest.skip(str(error))
    yield path
    remove_rbac(kube, namespace)


def two_groups(namespace: str) -> dict[str, Any]:
    made = job(namespace)
    score = {"bench": {"model": "cpt", "questions": [{"path": "s3://questions/a.jsonl"}]}}
    made["spec"]["stages"].append({"name": "score", **score, "cluster": {"workers": 2}})
    return made


def events(kube: Kube, namespace: str) -> list[str]:
    found = kube.list(EVENT, namespace)
    return [e["reason"] for e in found if e["involvedObject"].get("kind") == "AstroJob"]


def test_a_job_of_two_clusters_from_submission_to_success(
    kube: Kube, namespace: str, kuberay: KubeRay, field: Field, operator: Maker, rights: Path
) -> None:
    kuberay.script = Script(seconds=3, progress=lambda elapsed: progress(costUSD=0.5))
    operator(kubeconfig=rights)
    kube.create(two_groups(namespace))
    status = field.until("Running", seconds=90)
    eventually(lambda: (field.status().get("progress") or {}).get("step") == 3)
    assert status["rayJobs"][0]["name"] == "one-0-1"
    status = field.until("Succeeded")
    assert field.rayjobs() == ["one-0-1", "one-1-1"]
    assert [r["state"] for r in status["rayJobs"]] == ["Succeeded", "Succeeded"]
    assert kuberay.scripted.submitted == ["one-0-1", "one-1-1"]
    kinds = {c["type"]: c["status"] for c in status["conditions"]}
    assert kinds["Accepted"] == kinds["Succeeded"] == "True"
    assert kinds["Running"] == "False"
    assert status["costUSD"] == 0.5
    eventually(lambda: "Succeeded" in events(kube, namespace))
    assert not [e for e in events(kube, namespace) if e in ("Failed", "Retrying")]


def test_a_failed_attempt_is_followed_by_another_with_the_same_run(
    kube: Kube, namespace: str, kuberay: KubeRay, field: Field, operator: Maker
) -> None:
    lost = {"type": "ClusterError", "message": "a worker was lost", "retryable": True}
    failing = Script(0, 0.5, "FAILED", "boom", lambda t: progress(phase="failed", error=lost))
    kuberay.scripts["one-0-1"] = failing
    kuberay.script = Script(seconds=0.5, progress=lambda elapsed: progress(step=10))
    operator()
    kube.create(job(namespace, retry={"backoffSeconds": 1}))
    status = field.until("Succeeded")
    assert field.rayjobs() == ["one-0-1", "one-0-2"]
    assert status["failures"] == 1
    first, second = (kube.get(RAYJOB, n, namespace)["spec"] for n in field.rayjobs())
    run = f"s3://bucket/runs/{namespace}/one"
    assert run in first["entrypoint"]
    assert run in second["entrypoint"]
    assert second["entrypoint"].endswith("--attempt 2")
    assert "Retrying" in events(kube, namespace)


def test_a_job_that_cannot_go_well_fails_and_can_be_started_again(
    kube: Kube, namespace: str, kuberay: KubeRay, field: Field, operator: Maker
) -> None:
    error = {"type": "DataError", "message": "no texts", "hint": "add", "retryable": False}
    kuberay.script = Script(0, 0, "FAILED", "x", lambda t: progress(phase="failed", error=error))
    operator()
    kube.create(job(namespace))
    status = field.until("Failed")
    assert "no texts" in status["message"]
    assert field.rayjobs() == ["one-0-1"]
    kuberay.script = Script()
    field.patch(metadata={"annotations": {RETRY: "1"}})
    field.until("Succeeded")
    assert field.rayjobs() == ["one-0-1", "one-0-2"]


def test_suspend_stops_the_driver_and_resume_goes_on(
    kube: Kube, namespace: str, kuberay: KubeRay, field: Field, operator: Maker
) -> None:
    kuberay.script = Script(seconds=FOREVER, stop_seconds=1, progress=lambda t: progress())
    operator()
    kube.create(job(namespace))
    field.until("Running")
    field.patch(spec={"suspend": True})
    field.until("Suspended")
    assert "one-0-1" in kuberay.scripted.stopped, "the driver was asked, not killed"
    kuberay.script = Script()
    field.patch(spec={"suspend": False})
    field.until("Succeeded")
    assert kuberay.scripted.submitted == ["one-0-1", "one-0-2"]


def test_deleting_a_job_ends_ray_and_leaves_nothing(
    kube: Kube,
    namespace: str,
    plane: Plane,
    kuberay: KubeRay,
    field: Field,
    operator: Maker,
) -> None:
    kuberay.script = Script(seconds=FOREVER)
    operator()
    kube.create(job(namespace))
    field.until("Running")
    kube.delete(ASTROJOB, "one", namespace)
    eventually(lambda: gone(kube, ASTROJOB, "one", namespace), 30)
    assert kuberay.scripted.stopped == ["one-0-1"]
    eventually(lambda: field.rayjobs() == [])
    if plane.has_controllers:
        eventually(lambda: gone(kube, SECRET, "one-ray-token", namespace))


def test_a_finished_job_goes_when_its_time_has_come(
    kube: Kube, namespace: str, kuberay: KubeRay, field: Field, operator: Maker
) -> None:
    kuberay.script = Script(seconds=0)
    operator()
    kube.create(job(namespace, ttlSecondsAfterFinished=1))
    eventually(lambda: gone(kube, ASTROJOB, "one", namespace), 60)
    eventually(lambda: field.rayjobs() == [])


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_of_two_operators_one_leads_and_the_other_follows(
    kube: Kube,
    namespace: str,
    kuberay: KubeRay,
    field: Field,
    operator: Maker,
    end: signal.Signals,
) -> None:
    kuberay.script = Script(seconds=FOREVER)
    first = operator("first")
    eventually(lambda: field.leader() == "first")
    second = operator("second")
    eventually(lambda: "ok" in second.page("/readyz"), 30)
    kube.create(job(namespace))
    field.until("Running")
    assert field.leader() == "first"
    assert "astrosage_leader 1.0" in first.page()
    assert "astrosage_leader 0.0" in second.page()
    first.signal(end)
    eventually(lambda: field.leader() == "second", 40)
    kube.create(job(namespace, "other"))
    field.until("Running", "other")
    assert field.rayjobs() == ["one-0-1", "other-0-1"]
    assert sorted(kuberay.scripted.submitted) == ["one-0-1", "other-0-1"]
