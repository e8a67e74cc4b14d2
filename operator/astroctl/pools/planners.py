"""How the simulator's pods get their nodes: whole gangs by the policy, or pod by pod."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from astroctl.pools.ledger import FREE, Ledger
from astroctl.pools.market import Market, Option
from astroctl.pools.queue import Kind
from astroctl.pools.serve import serve
from astroctl.pools.shapes import Want

if TYPE_CHECKING:
    from astroctl.pools.simulate import Simulation
    from astroctl.pools.simulated import Run


def plan_gangs(simulation: Simulation, market: Market, now: float) -> float:
    """The policy: serve whole gangs; those that fit on free nodes start."""
    for turn in serve(simulation.queue, market).turns:
        if turn.how != FREE or turn.ledger is None:
            continue
        pool = simulation.pools[turn.ledger.pool.name]
        want = turn.ledger.want(turn.gang)
        # Pods find their nodes without a plan; in rare cases they leave no room for a later gang,
        # which then waits for the next look, as it would on a cluster.
        if pool.stock.capacity(want, turn.gang.pods) < turn.gang.pods:
            continue
        run = simulation.runs[turn.gang.id]
        simulation.queue.remove(turn.gang)
        simulation.settle_on(run, pool.bind(want, turn.gang.pods, now))
        simulation.start(run, now)
    return math.inf


def plan_pods(simulation: Simulation, market: Market, now: float) -> float:
    """One pod at a time: each takes a node where there is one, and asks for one where not.

    The scheduler binds what fits and the autoscaler adds nodes for what does not, up to the
    maximum, whether a job will be whole or not. Pods are packed as tightly as the policy packs
    them, and pools are tried in the same order.

    Returns:
        When the next job that holds only some of its pods is to be taken down.
    """
    done: set[Kind] = set()
    changed: list[Run] = []
    for kind, gang in simulation.queue.walk(done):
        options = market.options(kind, gang)
        run = simulation.runs[gang.id]
        left = gang.pods
        for ledger, want in options:
            left -= _bind(simulation, run, ledger, want, left, now)
        if left != gang.pods:
            changed.append(run)
        for ledger, want in options:
            left = _grow(ledger, want, left)
        if left and all(_nothing_left(o) for o in options):
            done.add(kind)
    for run in changed:
        simulation.queue.remove(run.waiting)
        left = run.gang.pods - sum(hold.pods for hold in run.holds)
        if left:
            run.waiting = replace(run.gang, pods=left)
            simulation.queue.add(run.waiting)
            simulation.partial[run.job.id] = run
        else:
            run.waiting = run.gang
            simulation.partial.pop(run.job.id, None)
            simulation.start(run, now)
    return _take_down(simulation, now)


def _bind(
    simulation: Simulation, run: Run, ledger: Ledger, want: Want, pods: int, now: float
) -> int:
    if not pods:
        return 0
    holds = simulation.pools[ledger.pool.name].bind(want, pods, now)
    bound = sum(hold.pods for hold in holds)
    ledger.free.take(want, bound)
    simulation.settle_on(run, holds)
    return bound


def _grow(ledger: Ledger, want: Want, pods: int) -> int:
    pods = ledger.coming.take(want, pods)
    if pods:
        ledger.grow(int(min(ledger.lacking(want, pods), ledger.room, max(0, ledger.step))))
        pods = ledger.coming.take(want, pods)
    return pods


def _nothing_left(option: Option) -> bool:
    return option.ledger.exhausted(option.want)


def _take_down(simulation: Simulation, now: float) -> float:
    patience = simulation.assumed.patience
    soonest = math.inf
    for run in list(simulation.partial.values()):
        since = max(hold.since for hold in run.holds)
        if now < since + patience:
            soonest = min(soonest, since + patience)
            continue
        simulation.result.gave_up += 1
        simulation.result.stranded += run.held(now)
        simulation.queue.remove(run.waiting)
        simulation.leave(run, now)
        del simulation.partial[run.job.id]
        run.gang = run.waiting = replace(run.gang, since=now)
        simulation.queue.add(run.gang)
        soonest = now
    return soonest
