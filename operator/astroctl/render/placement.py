"""Which nodes pods go to, and what they put up with there."""

from __future__ import annotations

import copy
from typing import Any

from astroctl.render.names import LABEL_GROUP, LABEL_JOB, LABEL_POOL, RAY_NODE_TYPE
from astroctl.render.settings import Settings
from astroctl.render.shape import Shape
from astrosage.spec.cluster import Cluster
from astrosage.spec.kubernetes import Head, Toleration
from astrosage.spec.pool import GPUNodePool

_ZONE = "topology.kubernetes.io/zone"
_AZURE_SPOT = "kubernetes.azure.com/scalesetpriority"
# What clouds and Karpenter label nodes with that may be taken away.
_SPOT: list[dict[str, Any]] = [
    {"key": "karpenter.sh/capacity-type", "operator": "NotIn", "values": ["spot"]},
    {"key": "eks.amazonaws.com/capacityType", "operator": "NotIn", "values": ["SPOT"]},
    {"key": "cloud.google.com/gke-spot", "operator": "DoesNotExist"},
    {"key": "cloud.google.com/gke-preemptible", "operator": "DoesNotExist"},
    {"key": _AZURE_SPOT, "operator": "NotIn", "values": ["spot"]},
]
_GPU_NODES: list[dict[str, Any]] = [
    {"key": "nvidia.com/gpu.present", "operator": "DoesNotExist"},
    {"key": "cloud.google.com/gke-accelerator", "operator": "DoesNotExist"},
    {"key": LABEL_POOL, "operator": "DoesNotExist"},
]


def pool_selector(pool: GPUNodePool) -> dict[str, str]:
    """Labels of a pool's nodes."""
    return dict(pool.spec.node_selector) or {LABEL_POOL: pool.metadata.name}


def usable_fallback(pool: GPUNodePool, fallback: GPUNodePool | None) -> GPUNodePool | None:
    """The fallback, if pods made for the pool fit its nodes as they are."""
    if fallback is None or fallback.metadata.name != pool.spec.fallback:
        return None
    mine, other = pool.spec, fallback.spec
    same = (mine.gpu_resource, mine.network) == (other.gpu_resource, other.network)
    return fallback if same and other.gpus_per_node >= mine.gpus_per_node else None


def head_placement(head: Head) -> dict[str, Any]:
    """Where a head pod goes: off GPU nodes and off nodes that may be taken away, if it can."""
    placed: dict[str, Any] = {
        "affinity": {
            "nodeAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 100, "preference": {"matchExpressions": copy.deepcopy(_SPOT)}},
                    {"weight": 50, "preference": {"matchExpressions": copy.deepcopy(_GPU_NODES)}},
                ]
            }
        }
    }
    if head.node_selector:
        placed["nodeSelector"] = dict(head.node_selector)
    return placed


def worker_placement(
    cluster: Cluster,
    form: Shape,
    settings: Settings,
    labels: dict[str, str],
    pool: GPUNodePool | None = None,
    fallback: GPUNodePool | None = None,
) -> dict[str, Any]:
    """Where worker pods go.

    Args:
        cluster: What is asked for.
        form: Its pods.
        settings: The installation's.
        labels: The pods'.
        pool: The pool it names.
        fallback: A pool whose nodes do as well.
    """
    fallback = usable_fallback(pool, fallback) if pool else None
    selector = dict(cluster.kubernetes.node_selector)
    affinity: dict[str, Any] = {}
    if pool is None:
        selector = {**settings.worker_node_selector, **selector}
    elif fallback is None:
        selector = {**pool_selector(pool), **selector}
    else:
        affinity["nodeAffinity"] = _either(pool, fallback)
    if form.max_pods > 1 and form.gpus and LABEL_JOB in labels:
        affinity["podAffinity"] = _together(labels)
    placed: dict[str, Any] = {}
    if selector:
        placed["nodeSelector"] = selector
    if affinity:
        placed["affinity"] = affinity
    tolerations = _tolerations(cluster, form, settings, [p for p in (pool, fallback) if p])
    if tolerations:
        placed["tolerations"] = tolerations
    return placed


def _either(pool: GPUNodePool, fallback: GPUNodePool) -> dict[str, Any]:
    terms = [_term(pool_selector(p)) for p in (pool, fallback)]
    return {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms},
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 100, "preference": copy.deepcopy(terms[0])}
        ],
    }


def _term(selector: dict[str, str]) -> dict[str, Any]:
    return {
        "matchExpressions": [
            {"key": key, "operator": "In", "values": [value]}
            for key, value in sorted(selector.items())
        ]
    }


def _together(labels: dict[str, str]) -> dict[str, Any]:
    """Gradients that cross zones are slow, and cost money."""
    mine = {k: labels[k] for k in (LABEL_JOB, LABEL_GROUP)}
    term = {
        "labelSelector": {"matchLabels": {**mine, RAY_NODE_TYPE: "worker"}},
        "topologyKey": _ZONE,
    }
    return {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 100, "podAffinityTerm": term}
        ]
    }


def _tolerations(
    cluster: Cluster, form: Shape, settings: Settings, pools: list[GPUNodePool]
) -> list[dict[str, Any]]:
    wanted: list[Toleration] = []
    if form.gpus:
        wanted.append(Toleration(key=form.gpu_resource, operator="Exists", effect="NoSchedule"))
    for pool in pools:
        wanted += pool.spec.tolerations
        if pool.spec.spot and pool.spec.driver == "aks":
            wanted.append(
                Toleration(key=_AZURE_SPOT, operator="Equal", value="spot", effect="NoSchedule")
            )
    if not pools:
        wanted += settings.worker_tolerations
    wanted += cluster.kubernetes.tolerations
    made: list[dict[str, Any]] = []
    for toleration in wanted:
        plain = toleration.to_yaml_dict()
        if plain not in made:
            made.append(plain)
    return made
