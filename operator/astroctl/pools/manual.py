"""Scaling by hand: the same drivers and the same manners as the policy's."""

from __future__ import annotations

import time
from typing import Any

from astroctl.kube.client import Kube
from astroctl.kube.errors import Missing, NoSuchKind
from astroctl.kube.plain import plain
from astroctl.kube.resources import NODE, POOL
from astroctl.pools.cluster import nodes as noding
from astroctl.pools.cluster.look import Looker, PoolLook
from astroctl.pools.cluster.survey import busy_nodes
from astroctl.pools.drivers.base import owned
from astrosage.errors import AstroError, ConflictError, NotFoundError, SpecError
from astrosage.spec.base import did_you_mean
from astrosage.spec.pool import GPUNodePool


def find_pool(kube: Kube, name: str) -> dict[str, Any]:
    """A GPUNodePool.

    Raises:
        NotFoundError: With the nearest name that there is.
    """
    try:
        return kube.get(POOL, name)
    except NoSuchKind:
        raise
    except Missing:
        known = [p["metadata"]["name"] for p in kube.list(POOL)]
        raise NotFoundError(
            f"there is no pool `{name}`",
            did_you_mean(name, known) if known else "`kubectl get gpunodepools` shows none at all",
        ) from None


def scale_by_hand(kube: Kube, name: str, nodes: int, *, force: bool = False) -> dict[str, Any]:
    """Set a pool's size.

    Args:
        kube: The cluster.
        name: The pool.
        nodes: How many it shall have.
        force: Remove nodes with work too; set limits where the number is somebody else's.

    Returns:
        Plain data: pool, before, after, what was done, message.

    Raises:
        Owned: Where another autoscaler owns the number, without ``force``; and with it where that
            one has no limits to set.
        ConflictError: If nodes with work would have to go, without ``force``.
    """
    obj = find_pool(kube, name)
    try:
        spec = GPUNodePool.model_validate(plain(obj)).spec
    except ValueError as error:
        raise SpecError(f"pool {name}: {str(error).splitlines()[-1]}", "mend the pool") from None
    if not spec.min_nodes <= nodes <= spec.max_nodes:
        raise SpecError(
            f"pool {name} may have {spec.min_nodes} to {spec.max_nodes} nodes; {nodes} were asked "
            "for",
            "change minNodes or maxNodes of the pool",
        )
    look = Looker(kube).look(time.time())
    one = next(p for p in look.pools if p.name == name)
    if one.error is not None:
        raise one.error
    assert one.size is not None
    if one.size.controls == "replicas":
        return _resize(kube, one, nodes, force)
    return _rebound(one, spec.min_nodes, nodes, force)


def _resize(kube: Kube, one: PoolLook, nodes: int, force: bool) -> dict[str, Any]:
    assert one.size is not None
    assert one.driver is not None
    before = one.size.desired
    gone = before - nodes
    if gone <= 0:
        one.driver.set_size(nodes)
        return _told(one, before, nodes, "scaled", f"from {before} to {nodes} nodes")
    free = _free_nodes(one)
    absent = max(0, before - len(one.nodes))
    if len(free) + absent < gone and not force:
        raise ConflictError(
            f"{gone} nodes would go, and only {len(free)} of {len(one.nodes)} have no work",
            "stop the jobs first, or give --force to remove nodes with their work",
        )
    chosen = free[: max(0, gone - absent)]
    if one.size.names_nodes and len(chosen) + absent >= gone:
        return _remove(kube, one, chosen, before, nodes)
    if not force and len(free) < len(one.nodes):
        raise ConflictError(
            "its mechanism chooses which nodes go, and some have work",
            "stop the jobs first, or give --force",
        )
    one.driver.set_size(nodes)
    return _told(one, before, nodes, "scaled", f"from {before} to {nodes} nodes")


def _remove(
    kube: Kube, one: PoolLook, chosen: list[str], before: int, nodes: int
) -> dict[str, Any]:
    """Close the nodes, look once more whether they have work, and take them away."""
    assert one.pool is not None
    assert one.driver is not None
    opened = [n for n in chosen if not (one.nodes[n].get("spec") or {}).get("unschedulable")]
    for name in opened:
        body = noding.cordon_patch(one.nodes[name], one.name, time.time())
        one.nodes[name] = kube.patch(NODE, name, body)
    busy = busy_nodes(kube, one.pool, chosen)
    if busy:
        for name in opened:
            _uncordon(kube, one, name)
        raise ConflictError(f"work has just come to {', '.join(sorted(busy))}", "try again")
    if before - nodes > len(chosen):
        one.driver.set_size(nodes + len(chosen))
    if chosen:
        one.driver.remove([noding.node_ref(one.nodes[n]) for n in chosen])
    removed = f", without {', '.join(sorted(chosen))}" if chosen else ""
    return _told(one, before, nodes, "scaled", f"from {before} to {nodes} nodes{removed}")


def _uncordon(kube: Kube, one: PoolLook, name: str) -> None:
    try:
        kube.patch(NODE, name, noding.uncordon_patch(one.nodes[name]))
    except AstroError:
        return  # the operator opens what it needs


def _rebound(one: PoolLook, least: int, nodes: int, force: bool) -> dict[str, Any]:
    assert one.size is not None
    assert one.driver is not None
    if not force or one.size.controls == "nothing":
        raise owned(f"pool {one.name}", one.size.owner)
    minimum = min(least, nodes)
    one.driver.set_bounds(minimum, nodes)
    before = one.size.maximum
    message = f"{one.size.owner}: its limits are now {minimum} to {nodes} nodes"
    return _told(one, before, nodes, "limits", message)


def _free_nodes(one: PoolLook) -> list[str]:
    """Nodes without work that may be removed, those not ready first."""
    assert one.state is not None
    free = [n for n in one.state.nodes if not n.pods and n.deletable and not n.leaving]
    return [n.name for n in sorted(free, key=lambda n: (n.ready, n.empty_since or 0.0, n.name))]


def _told(one: PoolLook, before: int | None, after: int, done: str, message: str) -> dict[str, Any]:
    return {
        "pool": one.name,
        "before": before,
        "after": after,
        "done": done,
        "message": f"pool {one.name}: {message}",
    }
