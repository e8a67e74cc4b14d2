"""One pool's books while a plan is made: what is free, what is coming, what may be added."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from astroctl.pools.delivery import Delivery
from astroctl.pools.model import Gang, PoolState
from astroctl.pools.shapes import Shape, Stock, Want, slots

# How a gang is served; the lower the better.
FREE, COMING, GROWTH, LATE = range(4)

_FULL = Shape(False, 0, 0.0, 0.0)


def affordable(pool: PoolState) -> int | None:
    """Nodes that the pool's budget for an hour pays; None without a budget or a price."""
    if pool.budget_per_hour is None or not pool.price:
        return None
    return int(pool.budget_per_hour / pool.price + 1e-9)


def most_nodes(pool: PoolState) -> int:
    """The size up to which the pool may grow: its maximum, or what its budget pays."""
    paid = affordable(pool)
    return pool.max_nodes if paid is None else min(pool.max_nodes, paid)


@dataclass(slots=True)
class Loan:
    """What a waiting gang counts on and cannot use yet: whoever is done by then may have it."""

    until: float
    free: Stock
    coming: Stock
    room: int


class Ledger:
    """What a plan may still give away of one pool; booking takes from it.

    Args:
        pool: Its facts; its nodes are not looked at here.
        delivery: What is under way.
        free: Ready nodes by what they have free, the full ones included. It is changed.
        fresh: What a new node offers.
        ends: When GPUs in use will be free and how many, ascending; unknown ones may be at once.
        now: The time.
        booting: What nodes that are not ready yet will have free. It is changed.
    """

    __slots__ = (
        "added",
        "awaited",
        "coming",
        "delivery",
        "ends",
        "free",
        "fresh",
        "late",
        "loans",
        "most",
        "now",
        "pool",
        "raw",
        "room",
        "served",
        "size",
        "step",
        "under_way",
    )

    def __init__(
        self,
        pool: PoolState,
        delivery: Delivery,
        free: Stock,
        fresh: Shape,
        ends: Sequence[tuple[float, int]],
        now: float,
        booting: Stock | None = None,
    ) -> None:
        self.now = now
        self.ends = ends
        self.loans: list[Loan] = []
        self.pool = pool
        self.delivery = delivery
        self.free = free
        self.fresh = fresh
        self.most = most_nodes(pool)
        self.size = pool.desired
        coming, late = delivery.coming - delivery.booting, delivery.late
        if pool.desired > pool.max_nodes and not self.fixed:
            # The maximum was lowered; what has not come is not waited for.
            self.size = max(pool.max_nodes, min(pool.desired, delivery.history.joined))
            cut = pool.desired - self.size
            coming, late = (coming, late - cut) if late else (coming - cut, 0)
        self.coming = booting if booting is not None else Stock()
        self.coming.add(fresh, coming)
        self.late = Stock({fresh: late})
        self.under_way = delivery.booting + coming + late
        self.room = 0 if self.fixed or delivery.blocked else max(0, self.most - self.size)
        self.step = math.inf if pool.max_step is None else max(0, pool.max_step - self.under_way)
        stocks = (self.free, self.coming, self.late)
        self.raw = sum(stock.gpus for stock in stocks) + self.room * fresh.gpus
        self.added = 0
        self.awaited = False
        """Somebody counts on what is coming."""
        self.served: list[str] = []
        below = min(pool.min_nodes - self.size, self.room, self.step)
        if below > 0:
            self.grow(int(below))

    @property
    def fixed(self) -> bool:
        """Its size cannot be changed now, in either direction."""
        return self.pool.paused or bool(self.pool.unable)

    def grow(self, nodes: int) -> None:
        """Ask for more nodes."""
        if nodes:
            self.coming.add(self.fresh, nodes)
            self.room -= nodes
            self.step -= nodes
            self.size += nodes
            self.added += nodes

    def want(self, gang: Gang) -> Want:
        """What a pod of the gang takes of this pool's nodes.

        A pod without GPUs takes the place of one where nothing else is known of the nodes: better
        a node too many than pods that wait.
        """
        cpu = gang.cpu if self.fresh.cpus != math.inf else 0.0
        memory = gang.memory if self.fresh.memory != math.inf else 0
        return Want(gang.gpus, cpu, memory) if gang.gpus or cpu or memory else Want(1, 0.0, 0)

    def fit(self, want: Want, pods: int, seconds: float | None) -> tuple[int, int] | None:
        """How the pool could serve so many pods: by what, and with how many new nodes.

        A gang that is larger than the step gets its nodes when nothing else is under way: a step
        spreads growth over time, it must not cut a gang or shut it out.
        """
        have = self.free.capacity(want, pods)
        for loan in self._open_loans(seconds):
            if have < pods:
                have += loan.free.capacity(want, pods - have)
        if have >= pods:
            return FREE, 0
        have += self.coming.capacity(want, pods - have)
        for loan in self._open_loans(seconds, self._still_booting()):
            if have < pods:
                have += loan.coming.capacity(want, pods - have)
        if have >= pods:
            return COMING, 0
        if room := self._room(seconds):
            nodes = self.lacking(want, pods - have)
            alone = not self.under_way and not self.added
            if nodes <= room and (nodes <= self.step or alone):
                return GROWTH, nodes
        if self.late and have + self.late.capacity(want, pods - have) >= pods:
            return LATE, 0
        return None

    def _open_loans(self, seconds: float | None, boot: float = 0.0) -> Iterable[Loan]:
        end = self.now + boot + (math.inf if seconds is None else seconds)
        return (loan for loan in self.loans if loan.until >= end)

    def _still_booting(self) -> float:
        expected = self.delivery.expected
        return self.pool.boot_seconds if expected is None else expected - self.now

    def _room(self, seconds: float | None) -> int:
        lent = self._open_loans(seconds, self.pool.boot_seconds) if self.loans else ()
        return self.room + sum(loan.room for loan in lent)

    def lacking(self, want: Want, pods: int) -> int:
        """New nodes that so many pods need; more than there can be if they fit on none."""
        each = slots(self.fresh, want)
        return -(-pods // each) if each else 10**9

    def missing(self, want: Want, pods: int) -> int:
        """Nodes that would have to become free before the pool could serve so many pods."""
        have = sum(stock.capacity(want, pods) for stock in (self.free, self.coming, self.late))
        return max(0, self.lacking(want, max(0, pods - have)) - self.room)

    def obstacle(self, want: Want, pods: int) -> str:
        """Why the pool cannot serve so many pods now, in one word (:mod:`astroctl.pools.words`)."""
        if self.pool.paused:
            return "Paused"
        if self.pool.unable:
            return "Unable"
        if self.delivery.blocked:
            return "Stuck" if self.delivery.stuck else "BackOff"
        have = sum(stock.capacity(want, pods) for stock in (self.free, self.coming))
        if self.lacking(want, max(0, pods - have)) <= self.room:
            return "Step"
        return "OverBudget" if self.most < self.pool.max_nodes else "AtMaximum"

    def book(self, want: Want, pods: int, new_nodes: int, seconds: float | None) -> None:
        """Give the pods their places."""
        borrowed = max(0, new_nodes - self.room)
        for loan in self._open_loans(seconds, self.pool.boot_seconds) if borrowed else ():
            part = min(borrowed, loan.room)
            loan.room -= part
            borrowed -= part
            self.room += part
        self.grow(new_nodes)
        pods = self.free.take(want, pods)
        for loan in self._open_loans(seconds):
            pods = loan.free.take(want, pods)
        self.awaited = self.awaited or pods > 0
        pods = self.coming.take(want, pods)
        for loan in self._open_loans(seconds, self._still_booting()):
            pods = loan.coming.take(want, pods)
        self.late.take(want, pods)

    def claim(self, want: Want, pods: int) -> None:
        """Keep for a gang that must wait what it counts on, so that nobody behind delays it.

        It counts on what is free, what is coming, what may be added, and for the rest on nodes
        that are busy now. Of those the full ones come first: gaps on the others stay of use to
        gangs behind it as long as it can do without those nodes. Until the soonest moment at which
        it could start, what it counts on is lent to gangs that will be done by then.
        """
        full = sum(n for shape, n in self.free.counts.items() if self._is_full(shape))
        soonest = self._soonest(want, pods)
        if soonest > self.now:
            # Whole nodes, or who has had one added on loan would not find it again.
            free, pods = self.free.set_aside(want, pods)
            coming, pods = self.coming.set_aside(want, pods)
            self.awaited = self.awaited or bool(coming)
            self.free.add(_FULL, sum(free.counts.values()))
            self.loans.append(Loan(soonest, free, coming, self.room))
        pods = self.free.take(want, pods)
        left = self.coming.take(want, pods)
        self.awaited = self.awaited or left < pods
        pods = self.late.take(want, left)
        busy = self.lacking(want, pods) - self.room - full
        self.room = 0
        gaps = [s for s in self.free.order if not s.empty and not self._is_full(s)]
        for shape in reversed(gaps):
            if busy <= 0:
                break
            closed = min(busy, self.free.counts[shape])
            busy -= closed
            self.free.add(shape, -closed)
            self.free.add(_FULL, closed)

    def _soonest(self, want: Want, pods: int) -> float:
        """Before this moment so many pods cannot be served, however well GPUs come together.

        What this plan has given away counts as free: it may be free again at any time.
        """
        lacks = pods * want.gpus - self.raw
        if lacks <= 0:
            return self.now
        for end, gpus in self.ends:
            lacks -= gpus
            if lacks <= 0:
                return max(self.now, end)
        return math.inf

    def _is_full(self, shape: Shape) -> bool:
        return shape.gpus <= 0 and (self.fresh.gpus > 0 or shape.cpus <= 0)

    def exhausted(self, want: Want) -> bool:
        """Not even one such pod could be served any more, nor on loan."""
        stocks = [self.free, self.coming, self.late]
        if self.room or any(stock.capacity(want, 1) for stock in stocks):
            return False
        return not any(
            loan.room or loan.free.capacity(want, 1) or loan.coming.capacity(want, 1)
            for loan in self.loans
        )
