"""What is done with a job that is there; its status is written as the operator writes it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from astroctl.kube.client import Kube
from astroctl.kube.resources import ASTROJOB, CRD
from astroctl.kube.times import timestamp
from astroctl.render.crd import crds as ours
from astrosage.runs.directory import RunDirectory
from astrosage.spec.load import parse
from tests.astroctl.kubernetes.conftest import Cli, StandIn, plain
from tests.kube.fixtures import UserMaker
from tests.kube.objects import eventually
from tests.kube.plane import OwnPlane

KUBERNETES = ("--target", "kubernetes")
STAGES = [
    {"name": "corpus", "kind": "prepare", "phase": "finished", "seconds": 3.0},
    {"name": "cpt", "kind": "train", "phase": "running"},
]


def running(stand_in: StandIn, name: str = "small") -> None:
    stand_in.create(plain(name))
    stand_in.tell(
        name,
        "Running",
        stages=STAGES,
        rayJobs=[
            {"name": f"{name}-0-2", "attempt": 2, "state": "Active", "stages": ["corpus", "cpt"]}
        ],
        progress={
            "stage": "cpt",
            "step": 30,
            "total": 120,
            "unit": "steps",
            "loss": 2.5,
            "tokensPerSecond": 1400.0,
            "mfu": 0.41,
            "etaSeconds": 90.0,
            "heartbeat": timestamp(time.time()),
        },
        costUSD=1.25,
        failures=1,
        lastCheckpoint="cpt/step-20",
        conditions={
            "Accepted": ("True", "Accepted", ""),
            "CapacityReady": ("True", "Ready", "all pods run"),
            "Running": ("True", "Running", ""),
        },
    )


class Later:
    """Does something in a thread, as an operator would meanwhile."""

    def __init__(self, what: Callable[[], Any]) -> None:
        self._thread = threading.Thread(target=what)
        self._thread.start()

    def __enter__(self) -> Later:
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()


def test_status_shows_progress_conditions_cost_and_what_to_type_next(
    cli: Cli, stand_in: StandIn, namespace: str
) -> None:
    running(stand_in)
    result = cli("status", "small", *KUBERNETES)
    assert result.exit_code == 0, result.stderr
    for text in (
        f"{namespace}/small: running",
        "[2/2] cpt · 30/120 steps · loss 2.500 · 1,400 tokens/s · MFU 41 % · ETA 1m30s",
        "CapacityReady  True    Ready",
        "small-0-2",
        "attempt    2",
        "cost       1.25 USD",
        "checkpoint cpt/step-20",
        f"s3://bucket/runs/{namespace}/small",
    ):
        assert text in result.stdout, result.stdout
    data = json.loads(cli("status", "small", *KUBERNETES, "-o", "json").stdout)
    assert data["phase"] == "running"
    assert data["progress"]["loss"] == 2.5
    assert [c["type"] for c in data["conditions"]] == ["Accepted", "CapacityReady", "Running"]


def test_status_says_why_a_job_waits(cli: Cli, stand_in: StandIn) -> None:
    stand_in.create(plain("small"))
    why = "2 of 2 worker pods wait: no node has 8 free nvidia.com/gpu; raise the pool's maxNodes"
    stand_in.tell("small", "Pending", conditions={"CapacityReady": ("False", "PoolAtMaximum", why)})
    result = cli("status", "small", *KUBERNETES)
    assert result.stdout.startswith(f"{stand_in.namespace}/small: pending ({why})")
    assert "PoolAtMaximum" in result.stdout


def test_status_of_a_failed_job_has_its_error_and_the_way_on(cli: Cli, stand_in: StandIn) -> None:
    stand_in.create(plain("small"))
    error = {"type": "DataError", "message": "texts/a.md: not UTF-8", "hint": "save it as UTF-8"}
    stand_in.tell("small", "Failed", error=error, stages=STAGES)
    result = cli("status", "small", *KUBERNETES)
    assert result.exit_code == 0
    assert "error: texts/a.md: not UTF-8" in result.stdout
    assert "hint: save it as UTF-8" in result.stdout
    assert "next: astroctl resume" in result.stdout
    watched = cli("status", "small", *KUBERNETES, "--watch")
    assert watched.exit_code == 6
    assert "error: texts/a.md: not UTF-8" in watched.stderr


def test_events_are_shown(cli: Cli, stand_in: StandIn, kube: Kube, namespace: str) -> None:
    from astroctl.kube.events import post

    obj = stand_in.create(plain("small"))
    post(kube, obj, "Normal", "Started", "RayJob small-0-1 runs", key="1", now=time.time())
    result = cli("status", "small", *KUBERNETES)
    assert "Started" in result.stdout
    assert "RayJob small-0-1 runs" in result.stdout


def test_list_shows_the_namespace_or_the_cluster(
    cli: Cli, stand_in: StandIn, namespace: str
) -> None:
    running(stand_in, "one")
    stand_in.create(plain("two"))
    rows = json.loads(cli("list", *KUBERNETES, "-o", "json").stdout)
    assert {(r["name"], r["phase"], r["step"]) for r in rows} == {
        ("one", "running", 30),
        ("two", "pending", None),
    }
    everywhere = json.loads(cli("list", *KUBERNETES, "-A", "-o", "json").stdout)
    assert {(namespace, "one"), (namespace, "two")} <= {
        (r["namespace"], r["name"]) for r in everywhere
    }


def test_stop_suspends_and_waits_until_the_job_rests(cli: Cli, stand_in: StandIn) -> None:
    running(stand_in)

    def operator() -> None:
        stand_in.wait("small", lambda o: o["spec"].get("suspend"))
        time.sleep(0.3)
        stand_in.tell("small", "Suspended", stages=STAGES)

    with Later(operator):
        result = cli("stop", "small", *KUBERNETES)
    assert result.exit_code == 0, result.stderr
    assert ": suspended" in result.stdout
    assert "astroctl resume" in result.stderr


def test_stop_without_an_operator_says_so(cli: Cli, stand_in: StandIn) -> None:
    running(stand_in)
    result = cli("stop", "small", *KUBERNETES, "--timeout", "1")
    assert result.exit_code == 5
    told = result.stderr.index("no operator runs")  # before it waits, not after
    assert told < result.stderr.index("still runs after 1 s")
    assert "the job goes on until one does" in result.stderr
    assert stand_in.get("small")["spec"]["suspend"] is True


@pytest.mark.parametrize(("newest", "code"), [("cpt/step-31", 0), ("cpt/step-20", 5)])
def test_stop_that_insists_on_a_checkpoint(
    cli: Cli, stand_in: StandIn, newest: str, code: int
) -> None:
    running(stand_in)

    def operator() -> None:
        stand_in.wait("small", lambda o: o["spec"].get("suspend"))
        stand_in.tell("small", "Suspended", lastCheckpoint=newest)

    with Later(operator):
        result = cli("stop", "small", *KUBERNETES, "--checkpoint", "-o", "json")
    assert result.exit_code == code, result.stderr
    if code:
        assert "ended without taking one; the newest is cpt/step-20" in result.stderr
    else:
        assert json.loads(result.stdout)["progress"]["checkpoint"] == newest


def test_resume_of_a_suspended_job(cli: Cli, stand_in: StandIn) -> None:
    data = plain("small")
    data["spec"]["suspend"] = True
    stand_in.create(data)
    stand_in.tell("small", "Suspended", stages=STAGES)
    result = cli("resume", "small", *KUBERNETES)
    assert result.exit_code == 0, result.stderr
    obj = stand_in.get("small")
    assert obj["spec"]["suspend"] is False
    assert "astrosage.io/retry" not in (obj["metadata"].get("annotations") or {})
    # Until the operator has looked, the job counts as pending, so that a follower goes on.
    assert ": pending" in cli("status", "small").stdout


def test_resume_of_a_failed_job_asks_for_another_try(cli: Cli, stand_in: StandIn) -> None:
    stand_in.create(plain("small"))
    stand_in.tell("small", "Failed", stages=STAGES)
    assert cli("resume", "small", *KUBERNETES).exit_code == 0
    retry = stand_in.get("small")["metadata"]["annotations"]["astrosage.io/retry"]
    assert ": pending" in cli("status", "small").stdout
    stand_in.tell("small", "Failed", observedRetry=retry)
    assert ": failed" in cli("status", "small").stdout


def test_resume_of_a_running_job_conflicts(cli: Cli, stand_in: StandIn) -> None:
    running(stand_in)
    result = cli("resume", "small", *KUBERNETES)
    assert result.exit_code == 4
    assert "the run `small` is running" in result.stderr


def test_resume_of_a_finished_job_has_nothing_to_do(cli: Cli, stand_in: StandIn) -> None:
    stand_in.create(plain("small"))
    done = [{"name": n, "phase": "finished"} for n in ("corpus", "cpt")]
    stand_in.tell("small", "Succeeded", stages=done)
    result = cli("resume", "small", *KUBERNETES)
    assert result.exit_code == 0
    assert "nothing to do" in result.stderr


def test_resume_with_a_changed_file(
    cli: Cli, job_file: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    from astroctl.targets.kubernetes import submission

    monkeypatch.setattr(submission, "_ACCEPTED_SECONDS", 0.2)
    assert cli("submit", "-f", job_file, *KUBERNETES).exit_code == 0
    stand_in.tell("small", "Failed", stages=STAGES)
    data = yaml.safe_load(job_file.read_text())
    data["spec"]["stages"][1]["train"]["maxSteps"] = 5
    job_file.write_text(yaml.safe_dump(data))
    result = cli("resume", "small", "-f", job_file)
    assert result.exit_code == 0, result.stderr
    obj = stand_in.get("small")
    assert obj["spec"]["stages"][1]["train"]["maxSteps"] == 5
    assert obj["spec"]["stages"][0]["prepare"]["sources"][0]["path"].startswith("s3://")
    stand_in.tell(
        "small", "Failed", observedRetry=obj["metadata"]["annotations"]["astrosage.io/retry"]
    )
    data["spec"]["storage"] += "/elsewhere"
    job_file.write_text(yaml.safe_dump(data))
    moved = cli("resume", "small", "-f", job_file)
    assert moved.exit_code == 2
    assert "storage cannot be changed" in moved.stderr


def test_delete_removes_the_object_and_says_what_stays(
    cli: Cli, stand_in: StandIn, kube: Kube, namespace: str
) -> None:
    running(stand_in)
    result = cli("delete", "small", *KUBERNETES, "--yes")
    assert result.exit_code == 0, result.stderr
    assert f"its run directory stays: s3://bucket/runs/{namespace}/small" in result.stdout
    assert kube.find(ASTROJOB, "small", namespace) is None
    again = cli("status", "small", *KUBERNETES)
    assert again.exit_code == 3


def test_delete_waits_for_the_operators_finalizer(
    cli: Cli, stand_in: StandIn, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from astroctl.targets.kubernetes import runs

    data = plain("small")
    data["metadata"]["finalizers"] = ["astrosage.io/finalizer"]
    stand_in.create(data)
    monkeypatch.setattr(runs, "_DELETE_SECONDS", 0.5)
    stuck = cli("delete", "small", *KUBERNETES, "--yes")
    assert stuck.exit_code == 5
    assert "still there after" in stuck.stderr
    assert "being deleted" in cli("status", "small", *KUBERNETES).stdout

    def operator() -> None:
        time.sleep(0.5)
        kube.patch(ASTROJOB, "small", {"metadata": {"finalizers": None}}, namespace)

    monkeypatch.setattr(runs, "_DELETE_SECONDS", 20.0)
    with Later(operator):
        assert cli("delete", "small", *KUBERNETES, "--yes").exit_code == 0


def test_after_the_object_is_gone_the_run_directory_tells(
    cli: Cli, stand_in: StandIn, kube: Kube, namespace: str, bucket: str, home: Path
) -> None:
    from astroctl.runs import registry

    data = plain("small", bucket)
    place = f"{bucket}/{namespace}/small"
    context = kube.context
    registry.put(registry.Record(namespace, "small", place, target="kubernetes", context=context))
    directory = RunDirectory(place)
    directory.create(parse({**data, "metadata": {"name": "small", "namespace": namespace}}))
    directory.write_progress({"phase": "succeeded", "attempt": 1, "stages": STAGES})
    directory.stage("cpt").storage.write_bytes("logs/worker-1.log", b"from rank 1\n")
    status = cli("status", "small")
    assert status.exit_code == 0, status.stderr
    assert status.stdout.startswith(f"{namespace}/small: succeeded")
    assert "from rank 1" in cli("logs", "small").stdout
    assert [r["phase"] for r in json.loads(cli("list", "-o", "json").stdout)] == ["gone"]
    purged = cli("delete", "small", "--purge", "--yes")
    assert purged.exit_code == 0, purged.stderr
    assert not directory.exists()
    assert cli("status", "small").exit_code == 3


def test_logs_of_a_rank_come_from_the_run_directory(
    cli: Cli, stand_in: StandIn, namespace: str, bucket: str
) -> None:
    data = plain("small", bucket)
    stand_in.create(data)
    job = parse({**data, "metadata": {"name": "small", "namespace": namespace}})
    directory = RunDirectory(f"{bucket}/{namespace}/small")
    directory.create(job)
    directory.stage("cpt").storage.write_bytes("logs/worker-0.log", b"from rank 0\n")
    directory.stage("cpt").storage.write_bytes("logs/worker-1.log", b"from rank 1\n")
    result = cli("logs", "small", *KUBERNETES, "--rank", "1")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "==> cpt/worker-1.log <==\nfrom rank 1\n"
    everything = cli("logs", "small", *KUBERNETES)
    assert "from rank 0" in everything.stdout
    unknown = cli("logs", "small", *KUBERNETES, "--stage", "cpd")
    assert unknown.exit_code == 3
    assert "did you mean `cpt`?" in unknown.stderr


def test_someone_who_may_only_look_sees_the_status_and_is_told_that_stopping_is_not_his(
    cli: Cli, stand_in: StandIn, user: UserMaker
) -> None:
    running(stand_in)
    rules = [{"apiGroups": ["astrosage.io"], "resources": ["astrojobs"], "verbs": ["get", "list"]}]
    limited = user("viewer", rules)
    assert cli("status", "small", "--kubeconfig", limited).exit_code == 0
    result = cli("stop", "small", "--kubeconfig", limited)
    assert result.exit_code == 5
    assert "cannot patch resource" in result.stderr


def test_a_cluster_without_definitions(
    cli: Cli, job_file: Path, own_plane: OwnPlane, kube: Kube
) -> None:
    kube.delete(CRD, "astrojobs.astrosage.io")
    try:
        eventually(lambda: kube.find(CRD, "astrojobs.astrosage.io") is None)
        for command in (("status", "small"), ("submit", "-f", job_file), ("list",)):
            result = cli(*command, *KUBERNETES)
            assert result.exit_code == 3, result.stderr
            assert "astroctl install" in result.stderr
    finally:
        kube.create(ours()[0])
        eventually(lambda: kube.list(ASTROJOB) == [])
