"""Reasons and messages of plans: what people read in conditions, events and tables.

Every function returns the reason, one word, and the message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from astroctl.pools.ledger import COMING, FREE, GROWTH, Ledger
from astroctl.pools.model import Gang, PoolState
from astroctl.pools.shapes import Shape
from astrosage.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from astroctl.pools.serve import Turn
    from astroctl.pools.shrink import Shrink

Words = tuple[str, str]


def nodes(count: int) -> str:
    """`1 node`, `2 nodes`."""
    return f"{count} node" if count == 1 else f"{count} nodes"


def demand(gang: Gang) -> str:
    """`4 pods of 8 GPUs`."""
    pods = "1 pod" if gang.pods == 1 else f"{gang.pods} pods"
    if not gang.gpus:
        return f"{pods} without GPUs"
    return f"{pods} of {gang.gpus} GPU" + ("s" if gang.gpus != 1 else "")


def no_pools() -> Words:
    """There is none at all."""
    return "NoPool", "there is no GPUNodePool; make one, or add nodes yourself"


def no_pool(name: str, pools: Iterable[str]) -> Words:
    """The pool that a gang names is not there."""
    listed = ", ".join(sorted(pools)) or "none"
    return "NoPool", f"there is no pool {name}; set cluster.pool to one of: {listed}"


def refused(reasons: Sequence[Words]) -> Words:
    """No pool can ever serve a gang: one reason stands for all, all are told."""
    # Nearest miss first: what only lacks size or money says more than the wrong kind of node.
    rank = ["OverBudget", "GangTooBig", "PodTooBig", "NotAdmitted", "SpotNotAllowed", "OtherKind"]
    best = min(reasons, key=lambda r: rank.index(r[0]))
    shown = sorted(reasons, key=lambda r: rank.index(r[0]))[:4]
    more = f"; and {len(reasons) - 4} more pools" if len(reasons) > 4 else ""
    return best[0], "; ".join(message for _, message in shown) + more


def not_admitted(pool: PoolState) -> Words:
    """Labels or taints."""
    return "NotAdmitted", (
        f"pool {pool.name}: the pods do not accept its labels or taints; "
        "check nodeSelector, affinity and tolerations"
    )


def other_accelerator(gang: Gang, pool: PoolState) -> Words:
    """Another kind of GPU."""
    return "OtherKind", f"pool {pool.name} has {pool.accelerator or 'no named GPUs'}, not " + str(
        gang.accelerator
    )


def spot_not_allowed(pool: PoolState) -> Words:
    """Spot nodes, and the gang does not want any."""
    return "SpotNotAllowed", f"pool {pool.name} is spot; name it in cluster.pool to use it"


def pod_too_big(gang: Gang, pool: PoolState, fresh: Shape) -> Words:
    """One pod is more than one node."""
    if gang.gpus > fresh.gpus:
        lacks = f"a pod wants {gang.gpus} GPUs, a node has {fresh.gpus}"
    elif gang.cpu > fresh.cpus:
        lacks = f"a pod wants {gang.cpu:g} cores, a node has {fresh.cpus:g}"
    else:
        wanted, there = format_bytes(gang.memory), format_bytes(fresh.memory)
        lacks = f"a pod wants {wanted} of memory, a node has {there}"
    return "PodTooBig", f"pool {pool.name}: {lacks}; ask for less or use larger nodes"


def gang_too_big(gang: Gang, pool: PoolState, needed: int, most: int) -> Words:
    """The whole gang is more than the pool may ever be."""
    text = f"pool {pool.name}: {demand(gang)} need {nodes(needed)}, and "
    if most < pool.max_nodes:
        return "OverBudget", (
            f"{text}its budget of {pool.budget_per_hour:g} USD an hour pays for {most}; "
            "raise budget.perHour or ask for less"
        )
    return "GangTooBig", f"{text}its maximum is {most}; raise maxNodes or ask for less"


def _limit(ledger: Ledger) -> str:
    pool = ledger.pool
    if ledger.most < pool.max_nodes:
        return (
            f"pool {pool.name} may have {nodes(ledger.most)} for its budget of "
            f"{pool.budget_per_hour:g} USD an hour"
        )
    return f"pool {pool.name} may have {nodes(pool.max_nodes)}"


def _stuck(ledger: Ledger, now: float) -> str:
    pool, delivery = ledger.pool, ledger.delivery
    if delivery.why:
        return f"pool {pool.name} cannot deliver: {delivery.why}"
    if not delivery.late:
        return f"{nodes(delivery.dead)} of pool {pool.name} joined, but did not become ready"
    ago = format_seconds(now - (delivery.history.missing_since or now))
    return f"{nodes(delivery.late)} of pool {pool.name} have not come since {ago}"


def wait(turn: Turn, now: float) -> Words:
    """Why a gang waits that some pool can serve."""
    ledger, gang, reason = turn.ledger, turn.gang, turn.cause
    assert ledger is not None
    pool = ledger.pool
    if reason == "Behind":
        return reason, f"{turn.ahead} is ahead of it, and {_limit(ledger)}"
    if reason == "JobBudgetSpent":
        limits = [b for b in (gang.budget, pool.budget_per_job) if b is not None]
        return reason, (
            f"the job has cost {gang.spent:.2f} USD of {min(limits):g} that it may, and gets no "
            "more nodes; raise the budget"
        )
    if reason == "Paused":
        return reason, f"pool {pool.name} is paused and has no room; set spec.paused to false"
    if reason == "Unable":
        return reason, f"the size of pool {pool.name} cannot be changed: {pool.unable}"
    if reason == "Stuck":
        return reason, f"{_stuck(ledger, now)}; a fallback pool would help"
    if reason == "BackOff":
        until = (ledger.delivery.history.blocked_until or now) - now
        return reason, (
            f"pool {pool.name} did not deliver {ledger.delivery.history.failures} times; it is "
            f"asked again in {format_seconds(until)}"
        )
    if reason == "Step":
        return reason, (
            f"pool {pool.name} adds {nodes(pool.max_step or 0)} at once, and others are under way"
        )
    return reason, f"{_limit(ledger)}, and too few of them are free for {demand(gang)}"


def unbound(name: str, seconds: float) -> Words:
    """Nodes are free, but the pods are not bound to them."""
    return "Unbound", (
        f"pool {name} has had room for it for {format_seconds(seconds)}, but its pods are not "
        "bound; `kubectl describe pod` says why (taints, affinity, volumes); nodes are no longer "
        "kept for it"
    )


def served(turn: Turn, now: float) -> tuple[str, str, float | None]:
    """How a gang is served; with the time at which its nodes should be ready."""
    ledger = turn.ledger
    assert ledger is not None
    name, expected = ledger.pool.name, ledger.delivery.expected
    if turn.how == FREE:
        return "Fits", f"free nodes of pool {name} hold it", None
    if turn.how == GROWTH:
        ready = now + ledger.pool.boot_seconds
        return (
            "ScaleUp",
            f"pool {name} adds {nodes(turn.new_nodes)} for it, " + _in(ready, now),
            ready,
        )
    if turn.how == COMING:
        ready = expected if expected is not None else now + ledger.pool.boot_seconds
        return "UnderWay", f"nodes of pool {name} are under way, " + _in(ready, now), ready
    return "Late", f"{_stuck(ledger, now)}, and no other pool can serve it", None


def _in(when: float, now: float) -> str:
    return f"expected in {format_seconds(when - now)}"


def decision(ledger: Ledger, done: Shrink, now: float) -> Words:
    """What is done with a pool."""
    pool, delivery = ledger.pool, ledger.delivery
    if pool.paused:
        return "Paused", "paused: nothing is changed"
    if pool.unable:
        return "Unable", f"its size cannot be changed: {pool.unable}"
    for words in (_grown(ledger), _shrunk(ledger, done, now), _limited(ledger, now)):
        if words is not None:
            return words
    if delivery.coming:
        return "UnderWay", f"{nodes(delivery.coming)} under way" + (
            "" if delivery.expected is None else ", " + _in(delivery.expected, now)
        )
    if done.held:
        return "Steady", f"nothing to do; idle nodes stay for now: {done.held}"
    return "Steady", "nothing to do"


def _grown(ledger: Ledger) -> Words | None:
    if not ledger.added:
        return None
    pool = ledger.pool
    for_whom = _gangs(ledger.served) if ledger.served else f"its minimum of {pool.min_nodes}"
    return "ScaleUp", f"adds {nodes(ledger.added)} for {for_whom}"


def _shrunk(ledger: Ledger, done: Shrink, now: float) -> Words | None:
    parts = []
    if done.withdrawn:
        parts.append(f"withdraws the request: {_stuck(ledger, now)}")
    removed = ledger.size - done.withdrawn - done.after
    if removed:
        parts.append(f"removes {nodes(removed)}, empty and idle")
    if done.cordon:
        parts.append(f"cordons {nodes(len(done.cordon))}, to be removed soon")
    if done.uncordon:
        parts.append(f"uncordons {nodes(len(done.uncordon))}, needed after all")
    if not parts:
        if ledger.size < ledger.pool.desired:
            return "ScaleDown", f"back to its maximum of {nodes(ledger.pool.max_nodes)}"
        return None
    if done.withdrawn:
        return "Withdraw", "; ".join(parts)
    return ("ScaleDown" if removed else "Cordon" if done.cordon else "Uncordon"), "; ".join(parts)


def _limited(ledger: Ledger, now: float) -> Words | None:
    pool, delivery = ledger.pool, ledger.delivery
    if delivery.stuck:
        return "Stuck", _stuck(ledger, now)
    if delivery.history.blocked_until is not None:
        until = format_seconds(delivery.history.blocked_until - now)
        return "BackOff", f"did not deliver; is asked again in {until}"
    if ledger.size < pool.min_nodes:
        return "OverBudget", f"its minimum is {nodes(pool.min_nodes)}, but {_limit(ledger)}"
    return None


def _gangs(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
