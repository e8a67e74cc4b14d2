"""Whether a group can ever run on its pool: told before anything waits for nodes."""

from __future__ import annotations

from collections.abc import Iterator

from astroctl.render.groups import Group
from astroctl.render.problems import Problem
from astroctl.render.shape import Shape, shape
from astrosage.spec.cluster import Cluster
from astrosage.spec.job import AstroJob
from astrosage.spec.pool import GPUNodePool
from astrosage.units import format_bytes, parse_bytes


def fit(job: AstroJob, group: Group, pool: GPUNodePool) -> list[Problem]:
    """What keeps a group from its pool's nodes for good; empty if nothing does.

    Args:
        job: The AstroJob, whose fields are named.
        group: Its stages, and what they run on.
        pool: The GPUNodePool that the group's cluster names.
    """
    cluster = group.cluster
    where = cluster_path(job, group)
    form = shape(cluster, pool)
    return [
        *_pod_fits_node(where, cluster, form, pool),
        *_gang_fits_pool(where, cluster, form, pool),
    ]


def cluster_path(job: AstroJob, group: Group) -> str:
    """The field that a group's cluster was written in."""
    for index, stage in enumerate(job.spec.stages):
        if stage.name == group.stages[0] and stage.cluster is not None:
            return f"spec.stages[{index}].cluster"
    return "spec.cluster"


def _pod_fits_node(
    where: str, cluster: Cluster, form: Shape, pool: GPUNodePool
) -> Iterator[Problem]:
    spec = pool.spec
    several = form.workers_per_pod > 1
    workers = f"{form.workers_per_pod} workers of a pod want" if several else "a worker wants"
    memory = parse_bytes(spec.memory_per_node) if spec.memory_per_node else None
    for name, wanted, there, show in (
        ("gpu", form.gpus, spec.gpus_per_node, _gpus),
        ("cpu", form.cpu, spec.cpus_per_node, _cores),
        ("memory", form.memory, memory, format_bytes),
    ):
        if wanted is None or there is None or wanted <= there:
            continue
        chosen = several and cluster.workers_per_node is not None
        yield Problem(
            f"{where}.workersPerNode" if chosen else f"{where}.resourcesPerWorker.{name}",
            f"{workers} {show(wanted)}; a node of pool {pool.metadata.name} has {show(there)}",
            "lower it, or leave it out" if chosen else "ask for less, or name another pool",
        )


def _gpus(count: float) -> str:
    return f"{count:g} GPU" + ("" if count == 1 else "s")


def _cores(count: float) -> str:
    return f"{count:g} core" + ("" if count == 1 else "s")


def _gang_fits_pool(
    where: str, cluster: Cluster, form: Shape, pool: GPUNodePool
) -> Iterator[Problem]:
    spec, name = pool.spec, pool.metadata.name
    nodes = _nodes(form, pool)
    workers = f"{cluster.min_workers} worker" + ("s" if cluster.min_workers > 1 else "")
    if nodes > spec.max_nodes:
        yield Problem(
            f"{where}.workers",
            f"{workers} need {nodes} nodes; pool {name} has at most {spec.max_nodes}",
            "ask for fewer workers, raise the pool's maxNodes, or name another pool",
        )
        return
    hourly = nodes * (spec.price_per_hour or 0.0)
    limit = spec.budget.per_hour
    if limit is not None and hourly > limit:
        yield Problem(
            f"{where}.workers",
            f"{workers} need {nodes} nodes at {hourly:,.2f} USD an hour together; the budget of "
            f"pool {name} is {limit:,.2f}",
            "ask for fewer workers, raise the pool's budget.perHour, or name another pool",
        )


def _nodes(form: Shape, pool: GPUNodePool) -> int:
    """Nodes that the fewest pods need: as many pods on a node as fit."""
    spec = pool.spec
    room = [spec.gpus_per_node // form.gpus] if form.gpus else []
    if spec.cpus_per_node is not None:
        room.append(int(spec.cpus_per_node / form.cpu))
    if spec.memory_per_node is not None and form.memory:
        room.append(parse_bytes(spec.memory_per_node) // form.memory)
    on_each = max(1, min(room)) if room else 1
    return -(-form.min_pods // on_each)
