"""The pool policy: who gets which nodes, which pools grow, which nodes go.

One pure function, :func:`decide`. Drivers only carry out what it says, and what it remembers it
hands back. Its rules:

- A gang is served whole and by one pool, or not at all: by free nodes if there are enough, else by
  nodes under way, else by new ones.
- The pool is the one that the gang names, or its fallback while that one cannot serve it; for a
  gang that names none, spot before on-demand where it allows spot, then the cheapest.
- Turns go by priority, then age. A gang that must wait keeps what it counts on.
- Nodes under way count until the pool's boot time and half of it again have passed without any
  having come. Then the pool is stuck: gangs that can go elsewhere do, what nobody waits for any
  more is withdrawn, and the pool is asked again after a back-off that doubles.
- Only empty nodes go, after their idle time, cordoned first; none while somebody waits for nodes
  under way, right after growth, below the minimum, or while a gang counts on them.
- Growth stops at the maximum, at what the budget pays for, and at the step while other nodes are
  under way. A budget counts more than a minimum.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from astroctl.pools import words
from astroctl.pools.delivery import MARGIN, Count, deadline, follow, usable
from astroctl.pools.ledger import FREE, LATE, Ledger
from astroctl.pools.market import Market
from astroctl.pools.model import Decision, Gang, History, NodeState, Outcome, Plan, PoolState, State
from astroctl.pools.queue import Queue, kind
from astroctl.pools.serve import Served, Turn, serve
from astroctl.pools.shapes import Shape, Stock
from astroctl.pools.shrink import Empty, shrink

UNBOUND_SECONDS = 600.0
"""A gang whose pods are not bound to free nodes for so long is kept from them by something that
the policy cannot see; it gets no nodes and keeps none until ..."""
UNBOUND_RETRY_SECONDS = 3600.0
"""... so much later."""


def decide(
    gangs: Sequence[Gang], pools: Sequence[PoolState], now: float, history: History | None = None
) -> Plan:
    """Make a plan.

    Args:
        gangs: All that wait.
        pools: All pools.
        now: Seconds since the epoch.
        history: What the last plan handed back.

    Returns:
        A decision for every pool and an outcome for every gang. The same facts give the same plan,
        and facts that the plan has been carried out on give a plan without changes.
    """
    history = history or History()
    ledgers = [open_ledger(pool, history, now) for pool in pools]
    market = Market(ledgers)
    placed = {g.id: max(history.placed[g.id], g.since) for g in gangs if g.id in history.placed}
    unbound = {i for i, t in placed.items() if now >= t + UNBOUND_SECONDS}
    again = {i for i in unbound if now >= placed[i] + UNBOUND_SECONDS + UNBOUND_RETRY_SECONDS}
    unbound -= again
    served = serve(Queue(g for g in gangs if g.id not in unbound), market)
    outcomes = _outcomes(gangs, served, market, {i: placed[i] for i in unbound}, now)
    decisions = tuple(_decision(ledger, now) for ledger in ledgers)
    fits = {
        o.gang: now if o.gang in again else placed.get(o.gang, now)
        for o in outcomes
        if o.reason in ("Fits", "Unbound")
    }
    pools_now = {ledger.pool.name: ledger.delivery.history for ledger in ledgers}
    return Plan(decisions, outcomes, History(pools_now, fits))


def open_ledger(pool: PoolState, history: History, now: float) -> Ledger:
    """Count a pool's nodes."""
    fresh = _fresh(pool)
    joined = [n for n in pool.nodes if not n.leaving]
    leaving = len(joined) > pool.desired
    states = [_state(node, pool, now) for node in joined]
    shapes: dict[str, dict[Shape, int]] = {"usable": {}, "booting": {}, "dead": {}}
    for node, state in zip(joined, states, strict=True):
        if not _closed(node, leaving):
            shape = _shape(node, pool, fresh)
            shapes[state][shape] = shapes[state].get(shape, 0) + 1
    newest = max((node.created for node in joined), default=None)
    count = Count(len(joined), states.count("booting"), states.count("dead"), newest)
    return Ledger(
        pool,
        follow(pool, count, history.pools.get(pool.name), now),
        Stock(shapes["usable"]),
        fresh,
        sorted((now if n.until is None else n.until, n.gpus_used) for n in joined if n.gpus_used),
        now,
        Stock(shapes["booting"]),
    )


def _state(node: NodeState, pool: PoolState, now: float) -> str:
    if usable(node, pool):
        return "usable"
    return "booting" if now < deadline(node.created, pool) else "dead"


def _closed(node: NodeState, leaving: bool) -> bool:
    """Takes no pods. A cordon of ours is lifted when the node is needed, unless the pool is
    shrinking already and it may be the one that goes."""
    return node.unschedulable or (leaving and node.cordoned_since is not None)


def _fresh(pool: PoolState) -> Shape:
    """What a new node offers; what the pool does not say, its nodes show."""
    ready = [n for n in pool.nodes if usable(n, pool)]
    gpus = pool.gpus_per_node
    if ready and gpus:
        gpus = min(gpus, max(n.gpus for n in ready))
    cpus: float | None = pool.cpus_per_node
    if cpus is None:
        cpus = max((n.cpus for n in ready if n.cpus is not None), default=math.inf)
    memory: float | None = pool.memory_per_node
    if memory is None:
        memory = max((n.memory for n in ready if n.memory is not None), default=math.inf)
    if not gpus and cpus == memory == math.inf:
        return Shape(True, 1, cpus, memory)  # a pod has such a node for itself
    return Shape(True, gpus, cpus, memory)


def _shape(node: NodeState, pool: PoolState, fresh: Shape) -> Shape:
    # Until its GPUs are known, a node is thought to have what others have.
    gpus = (node.gpus or fresh.gpus) - node.gpus_used
    if fresh.gpus and not pool.gpus_per_node:
        gpus = 0 if node.pods else 1
    cpus = (fresh.cpus if node.cpus is None else node.cpus) - node.cpu_used
    memory = (fresh.memory if node.memory is None else node.memory) - node.memory_used
    return Shape(not node.pods, max(0, gpus), max(0.0, cpus), max(0.0, memory))


def _decision(ledger: Ledger, now: float) -> Decision:
    pool = ledger.pool
    joined = [n for n in pool.nodes if not n.leaving]
    leaving = len(joined) > pool.desired
    empties = list(_empties(pool, joined, ledger.fresh, leaving, now))
    busy = sum(1 for n in joined if n.pods or n.unschedulable)
    done = shrink(ledger, empties, busy, now)
    reason, message = words.decision(ledger, done, now)
    # A pod that was bound just before our cordon has a right to its node.
    working = (
        ()
        if leaving or ledger.fixed
        else tuple(n.name for n in joined if n.pods and n.cordoned_since is not None)
    )
    return Decision(
        pool=pool.name,
        before=pool.desired,
        after=done.after,
        reason=reason,
        message=message,
        gangs=tuple(ledger.served),
        cordon=done.cordon,
        uncordon=done.uncordon + working,
        remove=done.remove,
        price=pool.price,
    )


def _empties(
    pool: PoolState, joined: Iterable[NodeState], fresh: Shape, leaving: bool, now: float
) -> Iterable[Empty]:
    for node in joined:
        if node.pods or _closed(node, leaving):
            continue
        state = _state(node, pool, now)
        since = node.empty_since if node.empty_since is not None else now
        if state == "usable":
            shape: Shape | None = _shape(node, pool, fresh)
        elif state == "dead":
            shape, since = None, max(since, node.created + pool.boot_seconds * MARGIN)
        else:
            continue
        yield Empty(node.name, since, shape, node.cordoned_since, node.deletable)


def _outcomes(
    gangs: Sequence[Gang],
    served: Served,
    market: Market,
    unbound: dict[str, float],
    now: float,
) -> tuple[Outcome, ...]:
    turns = {turn.gang.id: turn for turn in served.turns}
    return tuple(
        _unbound(gang, market, now - unbound[gang.id])
        if gang.id in unbound
        else _outcome(turns.get(gang.id) or _after(gang, served, market), market, now)
        for gang in gangs
    )


def _after(gang: Gang, served: Served, market: Market) -> Turn:
    """The turn of a gang whose kind had nothing left when it would have been its turn."""
    if not market.options(kind(gang), gang):
        return Turn(gang, None, None, cause="NoFit")
    last = served.rest[kind(gang)]
    return Turn(gang, last.ledger, None, cause="Behind", ahead=last.ahead or last.gang.id)


def _unbound(gang: Gang, market: Market, seconds: float) -> Outcome:
    options = market.options(kind(gang), gang)
    name = options[0].ledger.pool.name if options else gang.pool or ""
    reason, message = words.unbound(name, seconds)
    return Outcome(gang.id, "waits", reason, message, name or None)


def _outcome(turn: Turn, market: Market, now: float) -> Outcome:
    gang = turn.gang
    if turn.ledger is None:
        return Outcome(gang.id, "waits", *market.refusals(gang))
    name = turn.ledger.pool.name
    if turn.how is None:
        return Outcome(gang.id, "waits", *words.wait(turn, now), name)
    reason, message, ready = words.served(turn, now)
    if turn.how == FREE:
        return Outcome(gang.id, "placed", reason, message, name)
    state: State = "waits" if turn.how == LATE else "scaling"
    return Outcome(gang.id, state, reason, message, name, turn.new_nodes, ready)
