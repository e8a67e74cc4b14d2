"""Pods, as far as pools are concerned: what they ask for, where they are, whose they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from astroctl.kube.client import Object
from astroctl.kube.times import seconds
from astroctl.pools.cluster.quantity import number
from astroctl.render.names import LABEL_GROUP, LABEL_JOB, LABEL_POOL, RAY_CLUSTER, RAY_GROUP

_SPOT = "astrosage.io/spot"
_KEEP = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class PodFacts:
    """One pod that has not ended.

    Attributes:
        namespace: Its namespace.
        name: Its name.
        node: The node it is bound to; empty: it waits for one.
        gpus: GPUs it asks for.
        cpu: Cores.
        memory: Bytes.
        priority: Higher goes first.
        created: When it was made.
        job: Namespace-wide name and group of the AstroJob it belongs to.
        cluster: The RayCluster it belongs to.
        ray_group: Its worker group there.
        pool: The pool it names.
        spot: Whether it says that its node may be taken away.
        daemon: Belongs to the node (a daemon set's, or static).
        stays: Must not be moved: it says so, or nobody would make it again.
        leaving: Is being deleted.
        admits: The pools whose nodes it accepts.
    """

    namespace: str
    name: str
    node: str
    gpus: int
    cpu: float
    memory: int
    priority: int
    created: float
    job: tuple[str, str] | None
    cluster: str
    ray_group: str
    pool: str | None
    spot: bool
    daemon: bool
    stays: bool
    leaving: bool
    admits: frozenset[str] | None = None

    @property
    def is_work(self) -> bool:
        """Somebody's work that dies with its node: GPU pods and all pods of Ray clusters."""
        return bool(self.gpus or self.cluster or self.job) and not self.daemon

    @property
    def want(self) -> tuple[int, float, int]:
        """What it asks for."""
        return self.gpus, self.cpu, self.memory


def pod_facts(
    pod: Object,
    gpu_resources: Iterable[str],
    admits: Callable[[Object], frozenset[str]] | None = None,
) -> PodFacts:
    """The facts of a pod.

    Args:
        pod: The object.
        gpu_resources: Resource names that count as GPUs.
        admits: Tells for a pod's spec which pools it accepts; asked for pods that wait only.
    """
    meta, spec = pod["metadata"], pod["spec"]
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    asked = _requests(spec)
    owners = [o.get("kind") for o in meta.get("ownerReferences") or []]
    job = labels.get(LABEL_JOB)
    node = spec.get("nodeName") or ""
    return PodFacts(
        namespace=meta.get("namespace", ""),
        name=meta["name"],
        node=node,
        gpus=int(sum(asked.get(name, 0) for name in set(gpu_resources))),
        cpu=round(asked.get("cpu", 0.0), _DIGITS),
        memory=int(asked.get("memory", 0)),
        priority=int(spec.get("priority") or 0),
        created=seconds(meta.get("creationTimestamp")),
        job=(job, labels.get(LABEL_GROUP, "0")) if job else None,
        cluster=labels.get(RAY_CLUSTER, ""),
        ray_group=labels.get(RAY_GROUP, ""),
        pool=labels.get(LABEL_POOL) or (spec.get("nodeSelector") or {}).get(LABEL_POOL),
        spot=annotations.get(_SPOT, "").lower() == "true",
        daemon=bool(owners) and owners[0] in ("DaemonSet", "Node"),
        stays=not owners or any(annotations.get(k) == v for k, v in _KEEP.items()),
        leaving="deletionTimestamp" in meta,
        admits=admits(spec) if admits and not node else None,
    )


def gated(pod: Object) -> bool:
    """Held back on purpose: no demand until somebody lets it go."""
    return bool(pod["spec"].get("schedulingGates"))


def _requests(spec: dict[str, Any]) -> dict[str, float]:
    """As the scheduler counts: all containers together, or one that runs before them."""
    total: dict[str, float] = {}
    for container in spec.get("containers") or []:
        _add(total, _asked(container))
    aside: dict[str, float] = {}
    first: dict[str, float] = {}
    for container in spec.get("initContainers") or []:
        asked = _asked(container)
        if container.get("restartPolicy") == "Always":
            _add(aside, asked)
            asked = {}
        for name in {*asked, *aside}:
            first[name] = max(first.get(name, 0), asked.get(name, 0) + aside.get(name, 0))
    _add(total, aside)
    for name, value in first.items():
        total[name] = max(total.get(name, 0), value)
    _add(total, {k: number(v) for k, v in (spec.get("overhead") or {}).items()})
    return total


def _asked(container: dict[str, Any]) -> dict[str, float]:
    resources = container.get("resources") or {}
    both = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: number(value) for name, value in both.items()}


def _add(total: dict[str, float], more: dict[str, float]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value
