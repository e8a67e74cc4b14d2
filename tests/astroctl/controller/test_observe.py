"""What is read from a real API server, with how many requests."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any

import pytest

from astroctl.controller.observe import Nodes, observe, observe_failure
from astroctl.controller.pending import explain, explain_failure
from astroctl.controller.why.facts import CapacityFacts
from astroctl.kube.client import Kube
from astroctl.kube.errors import Forbidden, Invalid
from astroctl.kube.resources import NODE, POD, POOL, RAYJOB, WORKLOAD
from astroctl.kube.times import timestamp
from astroctl.render.groups import Group
from astrosage.spec.cluster import Cluster
from astrosage.spec.job import AstroJob
from astrosage.spec.pool import GPUNodePool
from tests.astroctl.controller import made
from tests.kube.fixtures import UserMaker
from tests.kube.plane import Plane

MOST_REQUESTS = 6


class Counting(Kube):
    """A client that keeps what it asks for."""

    def __init__(self, kube: Kube) -> None:
        super().__init__(kube.api, kube.namespace, kube.context)
        self.asked: list[str] = []

    def request(self, method: str, path: str, *args: Any, **more: Any) -> Any:
        self.asked.append(f"{method} {path}")
        return super().request(method, path, *args, **more)


class World:
    """A job of one group in a namespace of its own."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self.kube, self.namespace = Counting(kube), namespace
        self.rayjob: dict[str, Any] = {}

    def group(self, **cluster: Any) -> tuple[AstroJob, Group]:
        job = AstroJob.model_validate(
            {
                "metadata": {"name": "train", "namespace": self.namespace},
                "spec": {
                    "model": "tiny",
                    "stages": [{"name": "cpt", "train": {"objective": "cpt", "data": "corpus"}}],
                },
            }
        )
        return job, Group(0, ("cpt",), Cluster(**cluster))

    def start(self, **more: Any) -> None:
        """A RayJob that KubeRay has looked at."""
        wanted = made.rayjob(**more)
        wanted["metadata"]["namespace"] = self.namespace
        created = self.kube.create(
            {
                **wanted,
                "metadata": {k: v for k, v in wanted["metadata"].items() if k in _KEPT},
                "spec": {"entrypoint": "true", "suspend": more.get("suspend", False)},
            }
        )
        status = {**wanted["status"]}
        self.rayjob = self.kube.patch(
            RAYJOB, created["metadata"]["name"], {"status": status}, self.namespace, "status"
        )

    def pod(self, wanted: dict[str, Any]) -> None:
        """A pod as it is, with its status."""
        fresh = copy.deepcopy(wanted)
        meta = {k: fresh["metadata"][k] for k in ("name", "labels")}
        fresh["metadata"] = {**meta, "namespace": self.namespace}
        created = self.kube.create({k: v for k, v in fresh.items() if k != "status"})
        status = fresh["status"]
        for state in status["containerStatuses"]:
            state |= {"ready": False, "restartCount": 0, "imageID": "", "image": "x"}
        self.kube.patch(
            POD, created["metadata"]["name"], {"status": status}, self.namespace, "status"
        )

    def event(self, wanted: dict[str, Any]) -> None:
        """An event, as of now."""
        now = timestamp(time.time())
        about = {**wanted["involvedObject"], "namespace": self.namespace}
        self.kube.create(
            {
                "apiVersion": "v1",
                "kind": "Event",
                **wanted,
                "metadata": {"generateName": "told-", "namespace": self.namespace},
                "involvedObject": about,
                "firstTimestamp": now,
                "lastTimestamp": now,
            }
        )

    def look(self, known: Any = None, **cluster: Any) -> tuple[CapacityFacts, list[str]]:
        """Facts, and the requests that they took."""
        self.kube.asked.clear()
        job, group = self.group(**cluster)
        facts = observe(self.kube, job, group, self.rayjob, known)
        return facts, list(self.kube.asked)


_KEPT = ("name", "namespace", "labels")


@pytest.fixture
def world(kube: Kube, namespace: str, crds: list[str]) -> World:
    return World(kube, namespace)


@pytest.fixture
def pool(kube: Kube, crds: list[str], namespace: str) -> Iterator[dict[str, Any]]:
    """A pool with room, whose nodes are on their way."""
    name = f"pool-{namespace}"
    kube.create(
        {
            "apiVersion": POOL.api_version,
            "kind": POOL.kind,
            "metadata": {"name": name},
            "spec": {
                "driver": "scale",
                "reference": {"apiVersion": "x/v1", "kind": "MachineDeployment", "name": "gpu"},
                "maxNodes": 8,
            },
        }
    )
    status = {"current": 1, "desired": 4, "ready": 1, "lastScaleSeconds": 300}
    yield kube.patch(POOL, name, {"status": status}, subresource="status")
    kube.delete(POOL, name)


def test_running_job_costs_nothing(world: World) -> None:
    world.start(deployment="Running", job="RUNNING", ready_workers=4)
    facts, asked = world.look()
    assert asked == []
    assert explain(facts).ready


def test_job_without_rayjob_costs_nothing(world: World) -> None:
    assert world.look()[1] == []


def test_waiting_for_a_pool(world: World, pool: dict[str, Any]) -> None:
    world.start(workers=2)
    world.pod(made.head())
    said = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    for name in ("worker-a", "worker-b"):
        world.pod(made.pod(name, said=said, nodeSelector={"never": "there"}))
    name = pool["metadata"]["name"]
    facts, asked = world.look(pool, pool=name)
    found = explain(facts)
    assert (found.reason, len(facts.pods), facts.nodes) == ("ScalingUp", 3, [])
    assert found.message == (
        f"2 of 2 worker pods wait for pool {name}: 1 of 4 nodes are ready; last time it took 5m00s"
    )
    assert len(asked) == 3, asked  # pods, events of one of them, nodes
    model = GPUNodePool.model_validate(
        {"metadata": {"name": name}, "spec": pool["spec"], "kind": "GPUNodePool"}
    )
    facts, asked = world.look(model, pool=name)
    assert explain(facts).reason == "ScalingUp"
    assert len(asked) == 4, asked


def test_pods_that_start(world: World) -> None:
    world.start(workers=1)
    world.pod(made.pod(head=True, node="cpu-1", states=[made.waits("ContainerCreating")]))
    world.event(made.event("Pulling", 'Pulling image "x"', about=f"{made.CLUSTER}-head"))
    facts, asked = world.look()
    assert explain(facts).reason == "PullingImage"
    assert len(asked) == 3, asked  # pods, events of the head, of the Ray cluster


def test_no_right_to_read_nodes(
    world: World, plane: Plane, user: UserMaker, pool: dict[str, Any]
) -> None:
    """Without cluster-wide rights the scheduler's own words must do."""
    rules = [
        {
            "apiGroups": ["", "ray.io"],
            "resources": ["pods", "events", "rayjobs"],
            "verbs": ["get", "list"],
        }
    ]
    world.start(workers=1)
    world.pod(made.head())
    world.pod(made.pod(said="0/3 nodes are available: 3 Insufficient nvidia.com/gpu."))
    world.kube = Counting(Kube.connect(kubeconfig=str(user("operator", rules))))
    with pytest.raises(Forbidden):
        world.kube.list(NODE)
    facts, _ = world.look()
    assert facts.nodes is None
    assert explain(facts).reason == "InsufficientGPU"


def test_queue(world: World) -> None:
    world.start(deployment="Suspended", suspend=True, queue="team-a")
    facts, asked = world.look(queue="team-a")
    assert len(asked) == 2, asked  # workloads, the local queue
    assert facts.workload is None
    uid = world.rayjob["metadata"]["uid"]
    world.kube.create(
        {
            "apiVersion": WORKLOAD.api_version,
            "kind": WORKLOAD.kind,
            "metadata": {
                "name": "rayjob-train",
                "namespace": world.namespace,
                "labels": {"kueue.x-k8s.io/job-uid": uid},
            },
            "spec": {
                "queueName": "team-a",
                "podSets": [{"name": "head", "count": 1, "template": _TEMPLATE}],
            },
        }
    )
    reserved = made.condition(
        "QuotaReserved",
        "False",
        "Pending",
        "couldn't assign flavors to pod set head: insufficient unused quota for nvidia.com/gpu in "
        "flavor h100, 8 more needed",
    )
    world.kube.patch(
        WORKLOAD, "rayjob-train", {"status": {"conditions": [reserved]}}, world.namespace, "status"
    )
    facts, asked = world.look(queue="team-a")
    assert explain(facts).reason == "WaitingForQuota"
    assert len(asked) == 1, asked


_TEMPLATE = {"spec": {"containers": [{"name": "ray", "image": "x"}], "restartPolicy": "Never"}}


@pytest.mark.parametrize("kind", ["quota", "account", "priority", "limits"])
def test_refusals_in_the_words_of_this_server(world: World, kind: str) -> None:
    """What KubeRay passes on is the API server's message, whatever its version."""
    wanted = made.pod("worker-new")
    wanted["metadata"] |= {"namespace": world.namespace}
    reason = {
        "quota": "QuotaExceeded",
        "account": "ServiceAccountMissing",
        "priority": "PriorityClassMissing",
        "limits": "AdmissionDenied",
    }[kind]
    if kind == "account":
        wanted["spec"]["serviceAccountName"] = "trainer"
    elif kind == "priority":
        wanted["spec"]["priorityClassName"] = "urgent"
    else:
        limits = _LIMITS[kind] | {"metadata": {"name": "limits"}}
        path = f"/api/v1/namespaces/{world.namespace}/{limits['kind'].lower()}s"
        world.kube.request("POST", path, limits)
    refused = _refused(world, wanted)
    world.start(workers=1)
    world.pod(made.head(gpus=0)) if kind not in _LIMITS else None
    world.event(
        made.event(
            "FailedToCreateWorkerPod",
            f"Failed to create worker Pod for the cluster {world.namespace}/{made.CLUSTER}, "
            f"{refused}",
            about=made.CLUSTER,
            kind="RayCluster",
        )
    )
    facts, asked = world.look()
    found = explain(facts)
    assert found.reason == reason, found.message
    assert len(asked) <= MOST_REQUESTS


_LIMITS: dict[str, dict[str, Any]] = {
    "quota": {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "spec": {"hard": {"requests.nvidia.com/gpu": "4"}},
    },
    "limits": {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "spec": {"limits": [{"type": "Container", "max": {"memory": "1Gi"}}]},
    },
}


def _refused(world: World, wanted: dict[str, Any]) -> str:
    """The server's words; a quota and a limit range count a moment after they are made."""
    for _ in range(50):
        attempt = copy.deepcopy({k: v for k, v in wanted.items() if k != "status"})
        attempt["metadata"].pop("creationTimestamp", None)
        attempt["metadata"]["name"] += f"-{time.monotonic_ns()}"
        try:
            world.kube.create(attempt, dry_run=True)
        except (Forbidden, Invalid) as error:
            if "status unknown for quota" not in error.message:
                return error.message
        time.sleep(0.1)
    raise AssertionError("the server refuses nothing")


def test_never_more_requests_than_promised(world: World, pool: dict[str, Any]) -> None:
    """The worst case: in a queue, in a pool, with pods lacking and others waiting."""
    world.start(workers=4, queue="team-a")
    world.pod(made.pod(head=True, said="0/3 nodes are available: 3 Insufficient cpu."))
    name = pool["metadata"]["name"]
    model = GPUNodePool.model_validate(
        {"metadata": {"name": name}, "spec": pool["spec"], "kind": "GPUNodePool"}
    )
    facts, asked = world.look(model, pool=name, queue="team-a")
    assert explain(facts).reason == "InsufficientCPU"
    assert len(asked) == 5 <= MOST_REQUESTS, asked


def test_many_jobs_share_a_look_at_the_nodes(kube: Kube, plane: Plane) -> None:
    counting = Counting(kube)
    nodes = Nodes(counting)
    for _ in range(3):
        assert nodes("a=b") == []
    assert len(counting.asked) == 1


def test_failure(world: World) -> None:
    world.start(deployment="Failed", job="FAILED", reason="AppFailed")
    world.pod(made.head(phase="Failed", ready=False, states=[made.killed()]))
    world.kube.asked.clear()
    ending = explain_failure(observe_failure(world.kube, world.namespace, world.rayjob))
    assert (ending.reason, ending.retryable) == ("HeadOutOfMemory", True)
    assert len(world.kube.asked) == 1
