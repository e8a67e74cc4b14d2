from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astroctl.pools.cluster.gangs import gangs, least_pods
from astroctl.pools.cluster.nodes import node_state
from astroctl.pools.cluster.pods import PodFacts, pod_facts
from astroctl.pools.cluster.quantity import number
from astrosage.spec.pool import GPUNodePool

GPU = "nvidia.com/gpu"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500m", 0.5),
        ("8", 8),
        (4, 4),
        ("1.5", 1.5),
        ("8Gi", 8 * 2**30),
        ("1k", 1000),
        ("2M", 2e6),
        ("1Ei", 2**60),
        ("12e3", 12000),
        ("128974848", 128974848),
        (None, 0),
        ("", 0),
        ("much", 0),
    ],
)
def test_quantities(text: Any, value: float) -> None:
    assert number(text) == pytest.approx(value)


def pod(**spec: Any) -> dict[str, Any]:
    meta = {"name": "p", "namespace": "n", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"metadata": {**meta, **spec.pop("metadata", {})}, "spec": spec}


def container(**asked: str) -> dict[str, Any]:
    return {"resources": {"requests": asked}}


def test_a_pod_asks_for_its_containers_together_or_for_one_that_runs_before() -> None:
    facts = pod_facts(
        pod(
            containers=[container(cpu="1", memory="1Gi"), container(cpu="500m")],
            initContainers=[
                {**container(cpu="250m"), "restartPolicy": "Always"},
                container(cpu="4", memory="512Mi"),
            ],
            overhead={"cpu": "100m"},
        ),
        [GPU],
    )
    # A first container with the side container beside it: 4.25, more than all that follow.
    assert facts.cpu == pytest.approx(4.35)
    assert facts.memory == 2**30


def test_limits_count_where_there_is_no_request() -> None:
    limited = {"resources": {"limits": {GPU: "8", "cpu": "2"}, "requests": {"cpu": "1"}}}
    facts = pod_facts(pod(containers=[limited]), [GPU, GPU, "amd.com/gpu"])
    assert (facts.gpus, facts.cpu) == (8, 1)


@pytest.mark.parametrize(
    ("metadata", "stays", "daemon"),
    [
        ({}, True, False),
        ({"ownerReferences": [{"kind": "ReplicaSet"}]}, False, False),
        ({"ownerReferences": [{"kind": "DaemonSet"}]}, False, True),
        ({"ownerReferences": [{"kind": "Node"}]}, False, True),
        (
            {
                "ownerReferences": [{"kind": "ReplicaSet"}],
                "annotations": {"karpenter.sh/do-not-disrupt": "true"},
            },
            True,
            False,
        ),
        (
            {
                "ownerReferences": [{"kind": "ReplicaSet"}],
                "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
            },
            True,
            False,
        ),
    ],
)
def test_who_may_be_moved(metadata: dict[str, Any], stays: bool, daemon: bool) -> None:
    facts = pod_facts(pod(metadata=metadata, containers=[]), [GPU])
    assert (facts.stays, facts.daemon) == (stays, daemon)


def facts(
    name: str, cluster: str = "", node: str = "", gpus: int = 8, job: str = "", **more: Any
) -> PodFacts:
    made: dict[str, Any] = {
        "namespace": "n",
        "name": name,
        "node": node,
        "gpus": gpus,
        "cpu": 1.0,
        "memory": 0,
        "priority": 0,
        "created": 100.0,
        "job": (job, "0") if job else None,
        "cluster": cluster,
        "ray_group": "workers" if cluster else "",
        "pool": None,
        "spot": False,
        "daemon": False,
        "stays": False,
        "leaving": False,
    }
    return PodFacts(**{**made, **more})


def cluster(replicas: int, **more: Any) -> dict[str, Any]:
    group = {"groupName": "workers", "replicas": replicas, "minReplicas": 1, **more}
    elastic = bool(more.pop("elastic", False))
    spec = {"enableInTreeAutoscaling": elastic, "workerGroupSpecs": [group]}
    return {"metadata": {"namespace": "n", "name": "c"}, "spec": spec}


def test_a_gang_is_its_ray_cluster() -> None:
    waiting = [facts("a", "c", job="j"), facts("b", "c", job="j", created=50.0)]
    (gang,) = gangs(waiting, [], least_pods(cluster(4)), {}, {("n", "j"): 12.5})
    assert (gang.id, gang.pods, gang.gpus, gang.since) == ("n/j/0", 4, 8, 50.0)
    assert gang.spent == 12.5


def test_hosts_of_a_replica_all_count() -> None:
    assert least_pods(cluster(2, numOfHosts=4)) == {("n", "c", "workers"): 8}


def test_what_runs_already_is_no_demand_and_gives_the_home() -> None:
    bound = [facts("a", "c", node="n1"), facts("x", "c", node="n1", leaving=True)]
    (gang,) = gangs([facts("b", "c")], bound, least_pods(cluster(2)), {"n1": "h100"}, {})
    assert (gang.pods, gang.home) == (1, "h100")


def test_beyond_its_minimum_an_elastic_job_takes_what_it_can_get() -> None:
    waiting = [facts(n, "c", job="j") for n in "abc"]
    needs = least_pods(cluster(3, minReplicas=2, elastic=True))
    assert [(g.id, g.pods) for g in gangs(waiting, [], needs, {}, {})] == [
        ("n/j/0", 2),
        ("n/j/0+1", 1),
    ]
    bound = [facts("d", "c", node="n1"), facts("e", "c", node="n1")]
    assert [g.pods for g in gangs(waiting, bound, needs, {}, {})] == [1, 1, 1]


def test_pods_that_differ_are_gangs_of_their_own() -> None:
    waiting = [facts("a", "c"), facts("b", "c", gpus=4)]
    assert sorted((g.id, g.gpus) for g in gangs(waiting, [], {}, {}, {})) == [
        ("n/c/workers#1", 8),
        ("n/c/workers#2", 4),
    ]


@given(
    st.lists(st.tuples(st.sampled_from(["", "c", "d"]), st.booleans()), max_size=30),
    st.integers(0, 12),
)
def test_nobody_is_forgotten(made: list[tuple[str, bool]], least: int) -> None:
    """Every pod that waits is asked for, and of a gang never less than what it needs."""
    pods = [facts(f"p{i}", c, "n1" if runs else "") for i, (c, runs) in enumerate(made)]
    waiting, bound = [p for p in pods if not p.node], [p for p in pods if p.node]
    found = gangs(waiting, bound, {("n", "c", "workers"): least}, {}, {})
    assert len({g.id for g in found}) == len(found)
    for name in {p.cluster for p in waiting}:
        mine = [p for p in waiting if p.cluster == name]
        asked = sum(
            g.pods
            for g in found
            if (g.id.split("/")[1] == name) or (not name and g.id.endswith("/pod"))
        )
        running = sum(p.cluster == name for p in bound)
        needed = least - running if name == "c" else 0
        assert asked == max(len(mine), needed)


def spec(**more: Any) -> Any:
    whole = {"driver": "karpenter", "reference": {"name": "x"}, "maxNodes": 4, **more}
    return GPUNodePool.model_validate({"metadata": {"name": "h"}, "spec": whole}).spec


def node(**more: Any) -> dict[str, Any]:
    status = {
        "allocatable": {GPU: "8", "cpu": "63500m", "memory": "1000Gi"},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    meta = {"name": "n1", "creationTimestamp": "2026-01-01T00:00:00Z", **more.pop("metadata", {})}
    return {"metadata": meta, "spec": more, "status": status}


def test_a_node_and_its_pods() -> None:
    pods = [facts("a", "c", "n1"), facts("d", node="n1", gpus=0, daemon=True)]
    state = node_state(node(), pods, spec(), empty_since=5, removable=True)
    assert (state.ready, state.gpus, state.gpus_used, state.cpus) == (True, 8, 8, 63.5)
    assert (state.pods, state.empty_since, state.cpu_used) == (1, None, 2.0)
    empty = node_state(node(), pods[1:], spec(), empty_since=5, removable=True)
    assert (empty.pods, empty.empty_since, empty.deletable) == (0, 5, True)


def test_a_ray_head_on_a_gpu_node_is_work_too() -> None:
    head = facts("head", "c", "n1", gpus=0)
    assert node_state(node(), [head], spec(), empty_since=5, removable=True).pods == 1


def test_on_pools_without_gpus_all_pods_are_work() -> None:
    pods = [facts("web", node="n1", gpus=0), facts("d", node="n1", gpus=0, daemon=True)]
    assert node_state(node(), pods, spec(gpusPerNode=0), empty_since=5, removable=True).pods == 1
    assert node_state(node(), pods, spec(), empty_since=5, removable=True).pods == 0


def test_what_objects_to_removal() -> None:
    bare = facts("bare", node="n1", gpus=0, stays=True)
    assert not node_state(node(), [bare], spec(), empty_since=5, removable=True).deletable
    kept = node(metadata={"annotations": {"karpenter.sh/do-not-disrupt": "true"}})
    assert not node_state(kept, [], spec(), empty_since=5, removable=True).deletable
    assert not node_state(node(), [], spec(), empty_since=5, removable=False).deletable


def test_whose_cordon_it_is() -> None:
    marks = {
        "astrosage.io/cordoned-by": "h",
        "astrosage.io/cordoned-at": "2026-01-01T00:00:10Z",
    }
    ours = node(metadata={"annotations": marks}, unschedulable=True)
    state = node_state(ours, [], spec(), empty_since=5, removable=True)
    assert state.cordoned_since == 1767225610
    assert not state.unschedulable
    theirs = node_state(node(unschedulable=True), [], spec(), empty_since=5, removable=True)
    assert (theirs.cordoned_since, theirs.unschedulable) == (None, True)
    opened = node(metadata={"annotations": marks})
    assert node_state(opened, [], spec(), empty_since=5, removable=True).cordoned_since is None


def test_nodes_that_are_being_removed() -> None:
    tainted = node(taints=[{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}])
    assert node_state(tainted, [], spec(), empty_since=5, removable=True).leaving
    deleted = node(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    assert node_state(deleted, [], spec(), empty_since=5, removable=True).leaving
