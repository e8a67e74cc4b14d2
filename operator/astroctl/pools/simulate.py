"""Replay a job trace against simulated pools, event by event, through the real policy.

Nodes are paid from the moment they are asked for and are ready after their pool's boot time. A job
runs from the moment when all its pods have a node. A node taken away ends the runs on it; they
start again later from their last checkpoint.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import Any, Literal

from astroctl.pools.ledger import Ledger, most_nodes
from astroctl.pools.market import Market
from astroctl.pools.model import Gang, History, PoolState
from astroctl.pools.planners import plan_gangs, plan_pods
from astroctl.pools.policy import open_ledger
from astroctl.pools.queue import Queue, kind
from astroctl.pools.shrink import CORDON_SECONDS, shrink, why_held
from astroctl.pools.simulated import Hold, Node, Order, Pool, Run
from astroctl.pools.trace import Job

Way = Literal["gangs", "pods", "fixed"]
"""`gangs`: the policy; `pods`: as an autoscaler scales that sees pending pods one at a time;
`fixed`: every pool as large as it may be, all the time."""


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What the trace does not say."""

    period: float = 10.0
    """Seconds between two looks at the cluster."""
    preemptions_per_hour: float = 0.0
    """How often a spot node is taken away, on average."""
    checkpoint_seconds: float = 600.0
    """Work done since the last checkpoint is lost when a run is interrupted."""
    patience: float = 3600.0
    """`pods`: after so long without another pod, a job that has only some of its pods is taken
    down and begins to wait again, as a person would do who finds a deadlock."""
    estimates: float | None = 2.0
    """Jobs say beforehand that they run at most so many times as long as they do, as a deadline
    does; None: nothing is known of their durations."""
    seed: int = 0
    """Of the preemptions."""


@dataclass(slots=True)
class Result:
    """What one way of scaling came to; times in seconds, GPU time in GPU-seconds."""

    way: Way
    jobs: int
    rejected: dict[str, str]
    """Jobs that no pool can ever serve, and why."""
    finished: int = 0
    waits: list[float] = field(default_factory=list)
    """From arrival to the first start, ascending."""
    paid: float = 0.0
    used: float = 0.0
    """By runs, what was lost included."""
    useful: float = 0.0
    """Of jobs that finished."""
    stranded: float = 0.0
    """Held by pods whose job could not start."""
    money: float | None = 0.0
    """USD; None if a pool has no price."""
    ups: int = 0
    downs: int = 0
    nodes_added: int = 0
    peak_nodes: int = 0
    preemptions: int = 0
    """Runs that were interrupted."""
    gave_up: int = 0
    """Jobs taken down while they held only some of their pods."""
    ended: float = 0.0
    plans: int = 0


# Kinds of events; at one moment in this order.
_END, _JOIN, _TAKEN, _CUT, _ARRIVE, _LOOK = range(6)


class Simulation:
    """One replay.

    Args:
        jobs: The trace, by arrival.
        pools: The pools; what they hold now does not matter.
        way: How they are scaled.
        assumptions: What the trace does not say.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        pools: Sequence[PoolState],
        way: Way = "gangs",
        assumptions: Assumptions | None = None,
    ) -> None:
        self.way = way
        self.assumed = assumptions or Assumptions()
        self.dice = random.Random(self.assumed.seed)
        self.pools = {state.name: _pool(state, way) for state in pools}
        self.queue = Queue()
        self.runs: dict[str, Run] = {}
        self.partial: dict[str, Run] = {}
        """`pods`: jobs that hold only some of their pods."""
        self.result = Result(way, len(jobs), {})
        self._events: list[tuple[float, int, int, Any]] = []
        self._count = 0
        self._next_look = math.inf
        self._open = 0
        self._on: dict[Node, set[Run]] = {}
        self._handlers: dict[int, Callable[[Any, float], bool]] = {
            _END: self._end,
            _JOIN: self._join,
            _TAKEN: self._taken,
            _CUT: self._cut,
            _ARRIVE: self._arrive,
        }
        self._receive(jobs)

    def run(self) -> Result:
        """Replay everything."""
        self._start()
        now = 0.0
        while self._events and not self._over():
            now, what, _, subject = heappop(self._events)
            if what != _LOOK:
                if self._handlers[what](subject, now):
                    self._look_at(now)
            elif now == self._next_look:
                self._next_look = math.inf
                self._look(now)
        return self._close(now)

    def _over(self) -> bool:
        if self._open:
            return False
        return self.way == "fixed" or all(p.at_rest for p in self.pools.values())

    def start(self, run: Run, now: float) -> None:
        """All pods of a job have a node."""
        self.result.stranded += run.held(now)
        if run.first_start is None:
            run.first_start = now
            self.result.waits.append(now - run.job.arrival)
        run.started = now
        run.turn += 1
        run.until = now + (run.gang.seconds or 0.0)
        for hold in run.holds:
            insort(hold.pool.ends, (run.until, hold.pods * hold.want.gpus))
        self._at(now + run.remaining, _END, (run, run.turn))
        on_spot = any(hold.pool.state.spot for hold in run.holds)
        if on_spot and run.cuts < run.job.preemptions:
            part = run.job.duration / (run.job.preemptions + 1)
            done = run.job.duration - run.remaining
            self._at(now + max(1.0, (run.cuts + 1) * part - done), _CUT, (run, run.turn))

    def settle_on(self, run: Run, holds: Sequence[Hold]) -> None:
        """Pods have got their nodes."""
        run.holds += holds
        for hold in holds:
            if hold.pool.state.spot:
                self._on.setdefault(hold.node, set()).add(run)

    def leave(self, run: Run, now: float) -> None:
        """All pods of a job leave their nodes."""
        for hold in run.holds:
            if run.until is not None:
                ends = hold.pool.ends
                del ends[bisect_left(ends, (run.until, hold.pods * hold.want.gpus))]
            hold.pool.release(hold.node, hold.want, hold.pods, now)
            if runs := self._on.get(hold.node):
                runs.discard(run)
        run.holds = []
        run.until = None

    def _receive(self, jobs: Sequence[Job]) -> None:
        market = Market(pool.ledger(0.0) for pool in self.pools.values())
        largest = max((p.state.gpus_per_node for p in self.pools.values()), default=1)
        for job in jobs:
            named = self.pools.get(job.pool or "")
            gang = _gang(job, named.state.gpus_per_node if named else largest)
            if market.options(kind(gang), gang):
                self._open += 1
                run = Run(job, gang, job.duration)
                self._estimate(run)
                self._at(job.arrival, _ARRIVE, run)
            else:
                self.result.rejected[job.id] = market.refusals(gang)[1]
        for pool in self.pools.values():
            pool.history = None

    def _at(self, time: float, what: int, subject: Any) -> None:
        self._count += 1
        heappush(self._events, (time, what, self._count, subject))

    def _look_at(self, time: float) -> None:
        period = self.assumed.period
        time = math.ceil(time / period) * period
        if time < self._next_look:
            self._next_look = time
            self._at(time, _LOOK, None)

    def _start(self) -> None:
        for pool in self.pools.values():
            size = pool.state.min_nodes
            if size:
                pool.resize(size, 0.0)
                for _ in range(size):
                    self._joined(pool.add(0.0, 0.0), 0.0)

    def _estimate(self, run: Run) -> None:
        if self.assumed.estimates is not None:
            run.gang = replace(run.gang, seconds=run.remaining * self.assumed.estimates)
            run.waiting = run.gang

    def _arrive(self, run: Run, now: float) -> bool:
        self.runs[run.job.id] = run
        self.queue.add(run.gang)
        return True

    def _end(self, subject: tuple[Run, int], now: float) -> bool:
        run, turn = subject
        if run.turn != turn or run.started is None:
            return False
        self.result.used += run.ran(now)
        self.result.useful += run.gang.gpus * run.gang.pods * run.job.duration
        self.result.finished += 1
        self.result.ended = now
        self.leave(run, now)
        del self.runs[run.job.id]
        self._open -= 1
        return True

    def _join(self, order: Order, now: float) -> bool:
        for node in order.pool.join(order, now):
            self._joined(node, now)
        return True

    def _joined(self, node: Node, now: float) -> None:
        rate = self.assumed.preemptions_per_hour
        if rate and node.pool.state.spot:
            self._at(now + self.dice.expovariate(rate / 3600), _TAKEN, node)

    def _cut(self, subject: tuple[Run, int], now: float) -> bool:
        """The trace says that this job was interrupted: one of its nodes is taken away."""
        run, turn = subject
        if run.turn != turn or run.started is None:
            return False
        run.cuts += 1
        return self._taken(next(h.node for h in run.holds if h.pool.state.spot), now)

    def _taken(self, node: Node, now: float) -> bool:
        if node.gone:
            return False
        pool = node.pool
        pool.remove(node, now)
        pool.bill.lost += 1
        for run in sorted(self._on.pop(node, ()), key=lambda r: r.job.id):
            self._interrupt(run, now)
        # The provider replaces what it takes, as long as the size stays.
        self._at(now + pool.state.boot_seconds, _JOIN, pool.order(1, now))
        return True

    def _interrupt(self, run: Run, now: float) -> None:
        if run.started is None:
            self.result.stranded += run.held(now)
            self.queue.remove(run.waiting)
            self.partial.pop(run.job.id, None)
        else:
            self.result.preemptions += 1
            run.gang = replace(run.gang, spent=run.gang.spent + run.cost(now))
            self.result.used += run.ran(now)
            done, step = now - run.started, self.assumed.checkpoint_seconds
            run.remaining -= done - done % step if step else done
            run.started = None
        self.leave(run, now)
        self._estimate(run)
        run.waiting = run.gang
        self.queue.add(run.gang)

    def _look(self, now: float) -> None:
        self.result.plans += 1
        market = Market(pool.ledger(now) for pool in self.pools.values())
        plan = plan_pods if self.way == "pods" else plan_gangs
        wake = plan(self, market, now)
        for name, ledger in market.ledgers.items():
            wake = min(wake, self._adjust(self.pools[name], ledger, now))
        if wake < math.inf:
            self._look_at(max(wake, now + self.assumed.period))

    def _adjust(self, pool: Pool, ledger: Ledger, now: float) -> float:
        """Grow and shrink a pool; returns when to look again at the latest."""
        if ledger.added:
            pool.resize(pool.state.desired + ledger.added, now)
            order = pool.order(ledger.added, now)
            self._at(now + pool.state.boot_seconds, _JOIN, order)
            return math.inf
        if pool.joined <= pool.state.min_nodes:
            return math.inf
        idle = [] if why_held(ledger, now) else list(pool.idle(now))
        done = shrink(ledger, idle, pool.joined - len(idle), now)
        for name in done.cordon:
            pool.empty(name).cordoned_since = now
        for name in done.uncordon:
            pool.empty(name).cordoned_since = None
        for name in done.remove:
            pool.remove(pool.empty(name), now)
        pool.bill.removed += len(done.remove)
        if done.after != pool.state.desired:
            pool.resize(done.after, now)
        if done.cordon:
            return now + CORDON_SECONDS
        times = [pool.next_idle()]
        if pool.history and pool.history.scaled_up is not None:
            times.append(pool.history.scaled_up + pool.state.idle_seconds)
        return min((t for t in times if t is not None and t > now), default=math.inf)

    def _close(self, now: float) -> Result:
        result = self.result
        result.waits.sort()
        for pool in self.pools.values():
            pool.settle(now)
            state, bill = pool.state, pool.bill
            result.paid += bill.node_seconds * state.gpus_per_node
            if state.price is None:
                result.money = None
            elif result.money is not None:
                result.money += bill.node_seconds / 3600 * state.price
            result.ups += bill.ups
            result.downs += bill.downs
            result.nodes_added += bill.added
            result.peak_nodes += bill.peak
        return result


def simulate(
    jobs: Sequence[Job],
    pools: Sequence[PoolState],
    ways: Sequence[Way] = ("gangs", "pods", "fixed"),
    assumptions: Assumptions | None = None,
) -> list[Result]:
    """Replay a trace in several ways."""
    return [Simulation(jobs, pools, way, assumptions).run() for way in ways]


def _gang(job: Job, gpus_per_node: int) -> Gang:
    pods, gpus = job.split(gpus_per_node)
    return Gang(
        id=job.id,
        pods=pods,
        gpus=gpus,
        since=job.arrival,
        pool=job.pool,
        accelerator=job.accelerator,
        spot=job.spot,
        priority=job.priority,
    )


def _pool(state: PoolState, way: Way) -> Pool:
    low = most_nodes(state) if way == "fixed" else state.min_nodes
    state = replace(
        state, nodes=(), desired=0, change=None, min_nodes=low, unable="", names_nodes=True
    )
    return Pool(state, open_ledger(state, History(), 0.0).fresh)
