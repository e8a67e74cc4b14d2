from __future__ import annotations

import base64
import contextlib
import time
from collections import Counter
from typing import Any

import pytest
import yaml

from astroctl.controller.reconcile import FINALIZER
from astroctl.kube.client import Kube
from astroctl.kube.errors import ApiError
from astroctl.kube.resources import ASTROJOB, RAYJOB, SECRET, Resource
from tests.astroctl.controller.world import RETRY, World, job, progress


@pytest.fixture
def world(kube: Kube, namespace: str, crds: Any) -> World:
    return World(kube, namespace)


def test_a_job_from_acceptance_to_success(world: World) -> None:
    world.submit()
    world.look()
    assert world.names() == ["one-0-1"]
    status = world.status()
    assert status["phase"] == "Pending"
    assert status["runDirectory"] == f"s3://bucket/runs/{world.namespace}/one"
    assert [s["phase"] for s in status["stages"]] == ["pending", "pending"]
    assert world.condition("Accepted")["status"] == "True"
    assert world.condition("CapacityReady")["status"] == "False"

    rayjob = world.rayjobs()[0]
    owner = rayjob["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("AstroJob", "one", True)
    secret = world.kube.get(SECRET, "one-ray-token", world.namespace)
    token = base64.b64decode(secret["data"]["auth_token"]).decode()
    assert len(token) == 64
    assert token not in yaml.safe_dump(rayjob)

    world.kuberay("one-0-1", "Initializing")
    world.look(seconds=10)
    assert world.status()["phase"] == "Pending"
    world.run("one-0-1")
    world.dashboard.told = progress(checkpoint="step-00000003", costUSD=1.25, heartbeat=world.now)
    assert world.look(seconds=10) == world.settings.poll_seconds
    status = world.status()
    assert status["phase"] == "Running"
    assert status["progress"]["step"] == 3
    assert status["progress"]["loss"] == 2.5
    assert status["lastCheckpoint"] == "cpt/step-00000003"
    assert status["costUSD"] == 1.25
    assert [s["phase"] for s in status["stages"]] == ["finished", "running"]
    assert world.condition("CapacityReady")["status"] == "True"
    assert world.condition("Running")["status"] == "True"

    world.dashboard.told = progress(step=10, costUSD=2.5)
    world.kuberay("one-0-1", "Complete", "SUCCEEDED")
    assert world.look(seconds=10) is None
    status = world.status()
    assert status["phase"] == "Succeeded"
    assert status["costUSD"] == 2.5
    assert [s["phase"] for s in status["stages"]] == ["finished", "finished"]
    assert world.condition("Succeeded")["status"] == "True"
    assert world.condition("Running")["status"] == "False"
    assert status["completionTime"]
    assert [r for r, _ in world.events()] == ["Started", "Succeeded"]
    with world.counting() as made:
        assert world.look(seconds=100) is None
    assert not [m for m in made if not m.startswith("GET")], "a finished job is left alone"


def test_a_look_that_changes_nothing_asks_nothing(world: World) -> None:
    world.submit()
    world.look()
    world.run("one-0-1")
    world.dashboard.told = progress()
    world.look(seconds=10)
    world.see()
    with world.counting() as made:
        world.reconciler((world.namespace, "one"))
    assert made == []


def test_stages_on_other_clusters_get_rayjobs_of_their_own(world: World) -> None:
    obj = job(world.namespace)
    obj["spec"]["stages"][1]["cluster"] = {"workers": 2}
    world.submit(obj)
    world.look()
    assert world.names() == ["one-0-1"]
    world.run("one-0-1")
    world.look(seconds=10)
    world.kuberay("one-0-1", "Complete", "SUCCEEDED")
    world.look(seconds=10)
    assert world.names() == ["one-0-1", "one-1-1"]
    stages = [r["metadata"]["annotations"]["astrosage.io/stages"] for r in world.rayjobs()]
    assert stages == ["corpus", "cpt"]
    # The first RayJob's object may go; what it did is known.
    world.kube.delete(RAYJOB, "one-0-1", world.namespace)
    world.look(seconds=10)
    assert world.names() == ["one-1-1"]
    world.kuberay("one-1-1", "Complete", "SUCCEEDED")
    world.look(seconds=10)
    assert world.status()["phase"] == "Succeeded"


def test_a_failure_that_may_pass_is_tried_again_later_and_later(world: World) -> None:
    world.submit(retry={"maxFailures": 2, "backoffSeconds": 30})
    world.look()
    world.run("one-0-1")
    world.look(seconds=10)
    world.dashboard.answers = False
    for number, pause in ((1, 30), (2, 60)):
        world.kuberay(
            f"one-0-{number}", "Failed", "", reason="JobStatusCheckTimeoutExceeded", message="gone"
        )
        assert world.look() == pytest.approx(pause, abs=1)
        status = world.status()
        assert status["failures"] == number
        assert status["phase"] == "Pending"
        assert status["reason"] == "Retrying"
        world.look(seconds=pause / 2)
        assert world.status()["failures"] == number, "one failure is counted once"
        assert f"one-0-{number + 1}" not in world.names()
        world.look(seconds=pause)
        assert f"one-0-{number + 1}" in world.names()
    world.kuberay("one-0-3", "Failed", "", reason="JobStatusCheckTimeoutExceeded", message="gone")
    assert world.look(seconds=5) is None
    status = world.status()
    assert status["phase"] == "Failed"
    assert "3 failures" in status["message"]
    assert status["error"]["retryable"]
    world.annotate(RETRY, "now")
    world.look(seconds=5)
    assert "one-0-4" in world.names()
    status = world.status()
    assert (status["phase"], status["failures"]) == ("Pending", 0)
    assert "error" not in status
    assert not [c for c in status["conditions"] if c["type"] == "Failed"]


def test_a_failure_that_will_not_pass_is_final_and_says_what_to_do(world: World) -> None:
    world.submit()
    world.look()
    world.run("one-0-1")
    world.look(seconds=10)
    error = {"type": "DataError", "message": "a.md is empty", "hint": "fill it", "retryable": False}
    world.dashboard.told = progress(phase="failed", error=error)
    world.kuberay("one-0-1", "Failed", "FAILED", reason="AppFailed", message="exit code 6")
    assert world.look(seconds=10) is None
    status = world.status()
    assert status["phase"] == "Failed"
    assert status["error"] == error
    assert "a.md is empty; fill it" in status["message"]
    assert world.condition("Failed")["reason"] == "DataError"
    assert world.names() == ["one-0-1"]


def test_the_drivers_last_words_are_found_in_kuberays_message(world: World) -> None:
    world.submit()
    world.look()
    world.dashboard.answers = False
    said = (
        "Job entrypoint command failed with exit code 2, last available logs (truncated to "
        "20,000 chars):\nerror: spec.model: no such model\nhint: name another\n"
    )
    world.kuberay("one-0-1", "Failed", "FAILED", reason="AppFailed", message=said)
    world.look(seconds=10)
    error = world.status()["error"]
    assert error["type"] == "SpecError"
    assert error["message"] == "spec.model: no such model"
    assert error["hint"] == "name another"


def test_suspend_stops_the_driver_and_resume_goes_on(world: World) -> None:
    world.submit()
    world.look()
    world.run("one-0-1")
    world.dashboard.told = progress()
    world.look(seconds=10)
    world.change(suspend=True)
    assert world.look(seconds=1) is not None
    assert world.dashboard.stopped == ["one-0-1"]
    assert world.status()["reason"] == "Suspending"
    world.dashboard.told = progress(step=4, checkpoint="step-00000004", phase="stopped")
    world.kuberay("one-0-1", "Complete", "STOPPED")
    assert world.look(seconds=10) is None
    status = world.status()
    assert status["phase"] == "Suspended"
    assert status["lastCheckpoint"] == "cpt/step-00000004"
    world.look(seconds=1000)
    assert world.names() == ["one-0-1"]
    world.change(suspend=False)
    world.look(seconds=1)
    assert world.names() == ["one-0-1", "one-0-2"]
    assert world.status()["phase"] == "Pending"
    world.run("one-0-2")
    world.look(seconds=10)
    assert world.status()["phase"] == "Running"


def test_a_driver_that_does_not_stop_is_ended_after_its_grace(world: World) -> None:
    world.submit()
    world.look()
    world.run("one-0-1")
    world.look(seconds=10)
    world.change(suspend=True)
    world.look(seconds=1)
    world.look(seconds=100)
    assert world.names() == ["one-0-1"]
    world.look(seconds=120)
    assert world.names() == []
    world.look(seconds=3)
    assert world.status()["phase"] == "Suspended"


def test_a_job_that_waits_is_suspended_at_once(world: World) -> None:
    world.submit()
    world.look()
    world.change(suspend=True)
    world.look(seconds=1)
    world.look(seconds=1)
    assert world.names() == []
    assert world.status()["phase"] == "Suspended"
    assert world.dashboard.stopped == []


def test_a_job_that_is_suspended_from_the_start_boots_nothing(world: World) -> None:
    world.submit(suspend=True)
    world.look()
    assert world.names() == []
    assert world.status()["phase"] == "Suspended"


def test_deletion_ends_ray_first(world: World) -> None:
    world.submit()
    world.look()
    assert FINALIZER in world.kube.get(ASTROJOB, "one", world.namespace)["metadata"]["finalizers"]
    hold = {"metadata": {"finalizers": ["ray.io/rayjob-finalizer"]}}
    world.kube.patch(RAYJOB, "one-0-1", hold, world.namespace)
    world.kube.delete(ASTROJOB, "one", world.namespace)
    world.now = time.time()
    assert world.look() is not None
    assert world.kube.find(ASTROJOB, "one", world.namespace) is not None
    world.kube.patch(RAYJOB, "one-0-1", {"metadata": {"finalizers": None}}, world.namespace)
    world.look(seconds=3)
    assert world.names() == []
    assert world.kube.find(ASTROJOB, "one", world.namespace) is None


def test_deletion_does_not_hang_where_kuberay_is_gone(world: World) -> None:
    world.submit()
    world.look()
    hold = {"metadata": {"finalizers": ["ray.io/rayjob-finalizer"]}}
    world.kube.patch(RAYJOB, "one-0-1", hold, world.namespace)
    world.kube.delete(ASTROJOB, "one", world.namespace)
    world.now = time.time()
    world.look(seconds=3)
    world.look(seconds=400)
    assert world.kube.find(ASTROJOB, "one", world.namespace) is None
    assert any(reason == "RayJobsLeft" for reason, _ in world.events())
    world.kube.patch(RAYJOB, "one-0-1", {"metadata": {"finalizers": None}}, world.namespace)


def test_changes_wait_for_the_next_attempt_and_say_so(world: World) -> None:
    world.submit()
    world.look()
    world.run("one-0-1")
    world.look(seconds=10)
    stages = job(world.namespace)["spec"]["stages"]
    stages[1]["train"]["learningRate"] = 1e-4
    world.change(stages=stages)
    world.look(seconds=10)
    told = world.condition("SpecApplied")
    assert (told["status"], told["reason"]) == ("False", "ChangeWaits")
    assert world.status()["phase"] == "Running"
    world.change(suspend=True)
    world.look(seconds=1)
    world.kuberay("one-0-1", "Complete", "STOPPED")
    world.look(seconds=1)
    world.change(suspend=False)
    world.look(seconds=1)
    world.look(seconds=1)
    assert world.condition("SpecApplied")["status"] == "True"
    rayjob = next(r for r in world.rayjobs() if r["metadata"]["name"] == "one-0-2")
    assert "1e-04" in rayjob["spec"]["runtimeEnvYAML"] or "0.0001" in str(
        rayjob["spec"]["runtimeEnvYAML"]
    )


def test_a_changed_spec_runs_finished_groups_again_when_asked(world: World) -> None:
    obj = job(world.namespace)
    obj["spec"]["stages"][1]["cluster"] = {"workers": 2}
    world.submit(obj)
    for name in ("one-0-1", "one-1-1"):
        world.look(seconds=1)
        world.kuberay(name, "Complete", "SUCCEEDED")
    world.look(seconds=1)
    assert world.status()["phase"] == "Succeeded"
    obj["spec"]["stages"][1]["train"]["maxSteps"] = 20
    world.change(stages=obj["spec"]["stages"])
    world.look(seconds=1)
    assert len(world.names()) == 2, "what has succeeded is left alone until asked"
    world.annotate(RETRY, "again")
    world.look(seconds=1)
    assert world.names() == ["one-0-1", "one-1-1", "one-1-2"], "the first group is unchanged"


@pytest.mark.parametrize(
    ("spec", "reason", "says"),
    [
        ({"storage": "./runs"}, "StorageNotShared", "pvc://claim/path"),
        ({"model": "/models/mine"}, "LocalPath", "spec.model"),
        (
            {"stages": [{"name": "a", "train": {"objective": "cpt", "data": "b"}}]},
            "InvalidSpec",
            "there is no stage `b`",
        ),
        ({"cluster": {"workers": {"min": 3, "max": 1}}}, "InvalidSpec", "min 3 is above max 1"),
    ],
)
def test_jobs_that_cannot_run_are_refused(
    world: World, spec: dict[str, Any], reason: str, says: str
) -> None:
    world.submit(**spec)
    assert world.look() is None
    told = world.condition("Accepted")
    assert (told["status"], told["reason"]) == ("False", reason)
    assert says in told["message"]
    assert world.names() == []
    assert (reason, told["message"]) in world.events()


def test_a_refused_job_that_is_mended_runs(world: World) -> None:
    world.submit(cluster={"workers": {"min": 3, "max": 1}})
    world.look()
    world.change(cluster={"workers": {"min": 1, "max": 3}})
    world.look(seconds=5)
    assert world.names() == ["one-0-1"]
    assert world.condition("Accepted")["status"] == "True"


def test_a_pool_that_is_missing_is_waited_for(world: World) -> None:
    world.submit(cluster={"pool": "h100"})
    assert world.look() == 30
    assert world.condition("Accepted")["status"] == "True"
    told = world.condition("CapacityReady")
    assert told["reason"] == "PoolNotFound"
    assert world.names() == []


def test_only_the_stages_asked_for_run(world: World) -> None:
    obj = job(world.namespace)
    obj["metadata"]["annotations"] = {"astrosage.io/stages": "corpus"}
    world.submit(obj)
    world.look()
    assert [s["name"] for s in world.status()["stages"]] == ["corpus"]
    assert "--stages corpus " in world.rayjobs()[0]["spec"]["entrypoint"]


def test_a_finished_job_goes_when_its_time_has_come(world: World) -> None:
    world.submit(ttlSecondsAfterFinished=60)
    world.look()
    world.kuberay("one-0-1", "Complete", "SUCCEEDED")
    assert world.look(seconds=5) == pytest.approx(60, abs=1)
    world.look(seconds=61)
    meta = world.kube.get(ASTROJOB, "one", world.namespace)["metadata"]
    assert "deletionTimestamp" in meta


def test_a_rayjob_removed_by_hand_is_made_again(world: World) -> None:
    world.submit()
    world.look()
    world.kube.delete(RAYJOB, "one-0-1", world.namespace)
    world.look(seconds=5)
    assert world.names() == ["one-0-2"]


def test_someone_who_stops_the_ray_job_itself_stops_the_job(world: World) -> None:
    world.submit()
    world.look()
    world.run("one-0-1")
    world.look(seconds=10)
    world.kuberay("one-0-1", "Complete", "STOPPED")
    world.look(seconds=10)
    assert world.status()["phase"] == "Stopped"
    world.annotate(RETRY, "1")
    world.look(seconds=10)
    assert world.names() == ["one-0-1", "one-0-2"]


def test_a_job_made_anew_under_the_same_name_has_nothing_to_do_with_the_old_ones(
    world: World,
) -> None:
    world.submit()
    world.look()
    old = world.rayjobs()[0]
    world.kube.patch(ASTROJOB, "one", {"metadata": {"finalizers": None}}, world.namespace)
    world.kube.delete(ASTROJOB, "one", world.namespace)
    world.submit()
    world.store.put_rayjob(old)
    assert world.store.rayjobs((world.namespace, "one"), world.uid()) == []


def forget_rayjobs(world: World) -> None:
    """As if the watch of RayJobs had told nothing yet."""
    for rayjob in world.store.rayjobs((world.namespace, "one"), world.uid()):
        world.store.drop_rayjob(rayjob)


def test_rayjobs_are_looked_for_by_name_and_never_by_list(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list by label has the API server read every RayJob of the namespace, for each job."""
    listed: list[object] = []
    list_all = world.kube.list

    def noting(kind: Resource, *args: Any, **options: Any) -> list[dict[str, Any]]:
        listed.append(kind)
        return list_all(kind, *args, **options)

    monkeypatch.setattr(world.kube, "list", noting)
    world.submit()
    world.store.put_job(world.kube.get(ASTROJOB, "one", world.namespace))
    world.reconciler((world.namespace, "one"))
    forget_rayjobs(world)
    world.reconciler((world.namespace, "one"))
    assert RAYJOB not in listed
    monkeypatch.undo()
    assert world.names() == ["one-0-1"]


def test_watches_that_lag_behind_double_nothing(world: World) -> None:
    """The watch of RayJobs tells nothing: after a restart, or because it was cut."""
    world.submit()
    world.look()
    for restart in (False, True, True):
        if restart:
            world.restart()
        world.store.put_job(world.kube.get(ASTROJOB, "one", world.namespace))
        forget_rayjobs(world)
        world.reconciler((world.namespace, "one"))
        assert world.names() == ["one-0-1"]
        assert world.status()["rayJobs"][0]["attempt"] == 1
    world.change(suspend=True)
    world.store.put_job(world.kube.get(ASTROJOB, "one", world.namespace))
    forget_rayjobs(world)
    world.reconciler((world.namespace, "one"))
    world.look()
    assert world.names() == [], "it was seen, and ended, before the job was said to rest"
    assert world.status()["phase"] == "Suspended"


def test_a_rayjob_whose_end_was_not_told_is_missed(world: World) -> None:
    world.submit()
    world.look()
    world.kube.delete(RAYJOB, "one-0-1", world.namespace)
    for _ in range(4):  # without looking at what is there
        world.now += 30
        world.store.put_job(world.kube.get(ASTROJOB, "one", world.namespace))
        world.reconciler((world.namespace, "one"))
    assert world.names() == ["one-0-2"]


def test_an_older_state_does_not_replace_a_newer_one(world: World) -> None:
    world.submit()
    old = world.kube.get(ASTROJOB, "one", world.namespace)
    world.look()
    world.store.put_job(old)
    assert world.store.job((world.namespace, "one"))["status"]["phase"] == "Pending"  # type: ignore[index]


def test_an_operator_that_dies_anywhere_loses_and_doubles_nothing(world: World) -> None:
    """Every look is cut off after its n-th request, for every n, and begun again by a new one."""
    world.submit()

    def cut_everywhere() -> None:
        for allowed in range(12):
            world.restart()
            world.see()
            with world.dying_after(allowed), contextlib.suppress(ApiError):
                world.reconciler((world.namespace, "one"))

    cut_everywhere()
    assert world.names() == ["one-0-1"]
    assert world.status()["rayJobs"][0]["attempt"] == 1
    world.run("one-0-1")
    cut_everywhere()
    world.kuberay("one-0-1", "Failed", "", reason="JobStatusCheckTimeoutExceeded", message="x")
    cut_everywhere()
    assert world.status()["failures"] == 1
    world.now += 40
    cut_everywhere()
    assert world.names() == ["one-0-1", "one-0-2"]
    world.kuberay("one-0-2", "Complete", "SUCCEEDED")
    cut_everywhere()
    assert world.status()["phase"] == "Succeeded"
    # Events are told at most once each; one may be lost with the operator that was to tell it.
    told = Counter(reason for reason, _ in world.events())
    assert told <= Counter(["Retrying", "Started", "Started", "Succeeded"])
