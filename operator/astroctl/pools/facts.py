"""From GPUNodePool objects to the policy's facts."""

from __future__ import annotations

from collections.abc import Sequence

from astroctl.pools.model import Change, NodeState, PoolState
from astrosage.spec.pool import GPUNodePool
from astrosage.units import parse_bytes


def pool_state(
    pool: GPUNodePool,
    nodes: Sequence[NodeState] = (),
    desired: int | None = None,
    *,
    change: Change | None = None,
    names_nodes: bool = True,
    unable: str = "",
) -> PoolState:
    """The facts of a pool.

    Args:
        pool: The object.
        nodes: Its nodes.
        desired: Its size as asked of the mechanism; default: as many as there are nodes.
        change: The last request, where it is known.
        names_nodes: Whether its mechanism can be told which nodes to remove.
        unable: Why its size cannot be changed now; empty if it can.
    """
    spec = pool.spec
    memory = spec.memory_per_node
    return PoolState(
        name=pool.metadata.name,
        min_nodes=spec.min_nodes,
        max_nodes=spec.max_nodes,
        gpus_per_node=spec.gpus_per_node,
        cpus_per_node=spec.cpus_per_node,
        memory_per_node=parse_bytes(memory) if memory is not None else None,
        accelerator=spec.accelerator,
        price=spec.price_per_hour,
        spot=spec.spot,
        fallback=spec.fallback,
        idle_seconds=spec.idle_seconds,
        boot_seconds=spec.boot_seconds,
        max_step=spec.max_step,
        budget_per_hour=spec.budget.per_hour,
        budget_per_job=spec.budget.per_job,
        paused=spec.paused,
        names_nodes=names_nodes,
        unable=unable,
        desired=len(nodes) if desired is None else desired,
        nodes=tuple(nodes),
        change=change,
    )
