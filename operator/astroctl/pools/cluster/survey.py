"""One look at all pools: few API calls, whatever the number of nodes and pods."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import Forbidden, NoSuchKind
from astroctl.kube.resources import ASTROJOB, NODE, POD, RAYCLUSTER
from astroctl.pools.cluster import gangs as ganging
from astroctl.pools.cluster import nodes as noding
from astroctl.pools.cluster.matching import NodeKind, accepts, node_kind
from astroctl.pools.cluster.pods import PodFacts, gated, pod_facts
from astroctl.pools.model import Gang
from astroctl.render.names import LABEL_POOL, RAY_CLUSTER
from astroctl.render.placement import pool_selector
from astrosage.spec.pool import GPUNodePool

_WAITING = "spec.nodeName=,status.phase=Pending"
# Up to so many nodes are asked for one by one, more by one look at all pods.
_FEW = 20
_BOUND = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"


@dataclass(slots=True)
class Survey:
    """What was seen.

    Attributes:
        nodes: The nodes of each pool, by pool and name.
        pods: The pods on each node of a pool.
        gangs: Who waits.
    """

    nodes: dict[str, dict[str, Object]]
    pods: dict[str, list[PodFacts]]
    gangs: list[Gang] = field(default_factory=list)

    def is_empty(self, pool: GPUNodePool, node: str) -> bool:
        """Whether a node has nobody's work."""
        return not noding.works(self.pods.get(node, []), pool.spec)


def survey(kube: Kube, pools: list[GPUNodePool]) -> Survey:
    """Look at the nodes of pools and at the pods that run on them or wait.

    Args:
        kube: The cluster.
        pools: The pools.

    Raises:
        AstroError: If nodes or pods cannot be read.
    """
    found = Survey(_nodes(kube, pools), defaultdict(list))
    of_node = {name: pool for pool, nodes in found.nodes.items() for name in nodes}
    resources = {p.spec.gpu_resource for p in pools}
    bound = []
    for pod in kube.pages(POD, fields=_BOUND):
        # Most pods of a cluster are of no interest; they are let go page by page.
        on_pool = pod["spec"]["nodeName"] in of_node
        if on_pool or RAY_CLUSTER in (pod["metadata"].get("labels") or {}):
            bound.append(facts := pod_facts(pod, resources))
            if on_pool:
                found.pods[facts.node].append(facts)
    waiting = _waiting(kube, pools, found, resources)
    found.gangs = ganging.gangs(
        waiting,
        bound,
        _clusters(kube, waiting),
        of_node,
        _spent(kube, waiting) if any(p.spec.budget.per_job is not None for p in pools) else {},
    )
    return found


def busy_nodes(kube: Kube, pool: GPUNodePool, names: Collection[str]) -> set[str]:
    """Which of some nodes have work, or a pod that must stay, this very moment."""
    if len(names) > _FEW:
        looks = [_BOUND]
    else:
        looks = [_BOUND.replace("spec.nodeName!=", f"spec.nodeName={name}") for name in names]
    pods: dict[str, list[PodFacts]] = defaultdict(list)
    for fields in looks:
        for pod in kube.pages(POD, fields=fields):
            if pod["spec"]["nodeName"] in names:
                facts = pod_facts(pod, [pool.spec.gpu_resource])
                pods[facts.node].append(facts)
    return {
        name
        for name, there in pods.items()
        if noding.works(there, pool.spec) or any(p.stays and not p.daemon for p in there)
    }


def _nodes(kube: Kube, pools: list[GPUNodePool]) -> dict[str, dict[str, Object]]:
    """One list for all pools known by our label, one for each that has labels of its own."""
    found: dict[str, dict[str, Object]] = {p.metadata.name: {} for p in pools}
    if not pools:
        return found
    taken: set[str] = set()
    labelled = kube.list(NODE, labels=f"{LABEL_POOL} in ({','.join(sorted(found))})")
    for node in labelled:
        found[node["metadata"]["labels"][LABEL_POOL]][node["metadata"]["name"]] = _lean(node)
        taken.add(node["metadata"]["name"])
    for pool in pools:
        selector = pool_selector(pool)
        if LABEL_POOL in selector:
            continue
        labels = ",".join(f"{k}={v}" for k, v in sorted(selector.items()))
        for node in kube.pages(NODE, labels=labels):
            name = node["metadata"]["name"]
            if name not in taken:
                found[pool.metadata.name][name] = _lean(node)
                taken.add(name)
    return found


def _lean(node: Object) -> Object:
    """Without the list of images and the managed fields, which are most of a node."""
    status = node.get("status") or {}
    meta = {k: v for k, v in node["metadata"].items() if k != "managedFields"}
    kept = {k: status[k] for k in ("allocatable", "conditions") if k in status}
    return {**node, "metadata": meta, "status": kept}


def _waiting(
    kube: Kube, pools: list[GPUNodePool], found: Survey, resources: set[str]
) -> list[PodFacts]:
    kinds = {
        p.metadata.name: node_kind(
            p, [n for n in found.nodes[p.metadata.name].values() if noding.is_ready(n)]
        )
        for p in pools
    }
    admits = _admits(kinds)
    waiting = []
    for pod in kube.pages(POD, fields=_WAITING):
        if gated(pod):
            continue
        facts = pod_facts(pod, resources, admits)
        if not facts.leaving and (facts.gpus or facts.pool) and _for_pools(facts):
            waiting.append(facts)
    return waiting


def _for_pools(pod: PodFacts) -> bool:
    # The label of a job's pool is on its head too, which may run anywhere.
    return bool(pod.gpus) or pod.ray_group not in ("", "headgroup")


def _admits(kinds: Mapping[str, NodeKind]) -> Callable[[Object], frozenset[str]]:
    """Pods of a job are alike: each way of asking is looked at once."""
    seen: dict[str, frozenset[str]] = {}

    def admits(spec: Object) -> frozenset[str]:
        asks: list[Any] = [
            spec.get("nodeSelector"),
            (spec.get("affinity") or {}).get("nodeAffinity"),
            spec.get("tolerations"),
        ]
        key = repr(asks)
        if key not in seen:
            seen[key] = frozenset(name for name, kind in kinds.items() if accepts(spec, kind))
        return seen[key]

    return admits


def _clusters(kube: Kube, waiting: list[PodFacts]) -> dict[ganging.Key, int]:
    namespaces = {p.namespace for p in waiting if p.cluster}
    found: dict[ganging.Key, int] = {}
    for namespace in sorted(namespaces):
        # The operator may have rights in some namespaces only.
        with contextlib.suppress(Forbidden, NoSuchKind):
            for cluster in kube.pages(RAYCLUSTER, namespace):
                found.update(ganging.least_pods(cluster))
    return found


def _spent(kube: Kube, waiting: list[PodFacts]) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    for namespace in sorted({p.namespace for p in waiting if p.job}):
        with contextlib.suppress(Forbidden, NoSuchKind):
            for job in kube.pages(ASTROJOB, namespace):
                cost = (job.get("status") or {}).get("costUSD")
                found[(namespace, job["metadata"]["name"])] = float(cost or 0.0)
    return found
