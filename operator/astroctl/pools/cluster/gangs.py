"""Pods that are of use only together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from astroctl.kube.client import Object
from astroctl.pools.cluster.pods import PodFacts
from astroctl.pools.model import Gang

Key = tuple[str, str, str]
"""Namespace, RayCluster and worker group; for other pods the pod's own name."""


def key_of(pod: PodFacts) -> Key:
    """What a pod belongs to."""
    if pod.cluster:
        return pod.namespace, pod.cluster, pod.ray_group
    return pod.namespace, pod.name, ""


def gangs(
    waiting: Iterable[PodFacts],
    bound: Iterable[PodFacts],
    clusters: Mapping[Key, int],
    pool_of_node: Mapping[str, str],
    spent: Mapping[tuple[str, str], float],
) -> list[Gang]:
    """The gangs of which pods wait.

    A gang is as large as its RayCluster says, even while only some of its pods have been made, and
    an elastic one as small as its minimum: pods beyond it are gangs of one, since the job is
    better with any of them.

    Args:
        waiting: Pods that wait for a node.
        bound: Pods that have one.
        clusters: How many pods each worker group needs at least.
        pool_of_node: The pool of each node that belongs to one.
        spent: What AstroJobs have cost so far, by namespace and name.
    """
    members: dict[Key, list[PodFacts]] = defaultdict(list)
    for pod in waiting:
        members[key_of(pod)].append(pod)
    running: dict[Key, list[PodFacts]] = defaultdict(list)
    for pod in bound:
        if not pod.leaving and (key := key_of(pod)) in members:
            running[key].append(pod)
    made: list[Gang] = []
    for key, pods in sorted(members.items()):
        homes = [pool_of_node[p.node] for p in running[key] if p.node in pool_of_node]
        least = clusters.get(key, len(pods) + len(running[key]))
        made += _of_one_key(
            sorted(pods, key=lambda p: p.name),
            least - len(running[key]),
            max(sorted(set(homes)), key=homes.count) if homes else None,
            spent,
        )
    return made


def _of_one_key(
    pods: Sequence[PodFacts],
    needed: int,
    home: str | None,
    spent: Mapping[tuple[str, str], float],
) -> list[Gang]:
    name = _id(pods[0])
    shapes: dict[Any, list[PodFacts]] = defaultdict(list)
    for pod in pods:
        shapes[(pod.want, pod.admits)].append(pod)
    if len(shapes) > 1:
        # Pods that differ cannot be one of the policy's gangs.
        return [
            _gang(f"{name}#{i}", alike, len(alike), home, spent)
            for i, alike in enumerate(shapes.values(), 1)
        ]
    together = max(needed, 0) if needed < len(pods) else needed
    whole = [_gang(name, pods, together, home, spent)] if together else []
    beyond = pods[together:]
    return whole + [_gang(f"{name}+{i}", [pod], 1, home, spent) for i, pod in enumerate(beyond, 1)]


def _id(pod: PodFacts) -> str:
    if pod.job:
        return f"{pod.namespace}/{pod.job[0]}/{pod.job[1]}"
    if pod.cluster:
        return f"{pod.namespace}/{pod.cluster}/{pod.ray_group}"
    return f"{pod.namespace}/{pod.name}/pod"


def _gang(
    name: str,
    pods: Sequence[PodFacts],
    count: int,
    home: str | None,
    spent: Mapping[tuple[str, str], float],
) -> Gang:
    one = pods[0]
    return Gang(
        id=name,
        pods=count,
        gpus=one.gpus,
        since=min(p.created for p in pods),
        cpu=one.cpu,
        memory=one.memory,
        pool=one.pool,
        spot=one.spot,
        priority=one.priority,
        spent=spent.get((one.namespace, one.job[0]), 0.0) if one.job else 0.0,
        home=home,
        admits=one.admits,
    )


def least_pods(cluster: Object) -> dict[Key, int]:
    """How many pods each worker group of a RayCluster needs at least."""
    meta, spec = cluster["metadata"], cluster.get("spec") or {}
    elastic = bool(spec.get("enableInTreeAutoscaling"))
    found: dict[Key, int] = {}
    for group in spec.get("workerGroupSpecs") or []:
        replicas = group.get("minReplicas") if elastic else group.get("replicas")
        count = int(replicas or 0) * int(group.get("numOfHosts") or 1)
        if not group.get("suspend"):
            found[(meta["namespace"], meta["name"], group["groupName"])] = count
    return found
