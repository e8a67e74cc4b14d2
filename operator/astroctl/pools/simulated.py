"""A simulated pool: nodes that boot, hold pods, fall idle and are taken away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from astroctl.pools.delivery import Count, follow
from astroctl.pools.ledger import Ledger
from astroctl.pools.model import Gang, PoolHistory, PoolState
from astroctl.pools.shapes import Shape, Stock, Want, filled
from astroctl.pools.shrink import Empty
from astroctl.pools.trace import Job


@dataclass(slots=True, eq=False)
class Node:
    """One node."""

    number: int
    pool: Pool
    asked: float
    """When it was asked for; it is paid from then."""
    joined: float
    shape: Shape
    empty_since: float
    pods: int = 0
    cordoned_since: float | None = None
    gone: bool = False


@dataclass(slots=True, eq=False)
class Order:
    """Nodes that boot together."""

    pool: Pool
    asked: float
    nodes: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Pods of a job on one node."""

    pool: Pool
    want: Want
    node: Node
    pods: int
    since: float


@dataclass(slots=True, eq=False)
class Run:
    """A job from its arrival to its end."""

    job: Job
    gang: Gang
    remaining: float
    """Seconds that it has still to run."""
    waiting: Gang = field(init=False)
    """Those of its pods that wait."""
    holds: list[Hold] = field(default_factory=list)
    started: float | None = None
    until: float | None = None
    """When it is expected to end."""
    first_start: float | None = None
    turn: int = 0
    """Which start it is; what was foreseen for another one is void."""
    cuts: int = 0
    """Interruptions of the trace that it has had."""

    def __post_init__(self) -> None:
        self.waiting = self.gang

    def ran(self, now: float) -> float:
        """GPU-seconds since its start."""
        return self.gang.gpus * self.gang.pods * (now - (self.started or 0.0))

    def cost(self, now: float) -> float:
        """USD since its start: its share of its nodes."""
        hours = (now - (self.started or 0.0)) / 3600
        shares = (
            (h.pool.state.price or 0.0) * h.pods * h.want.gpus / h.pool.fresh.gpus
            for h in self.holds
            if h.pool.fresh.gpus
        )
        return hours * sum(shares)

    def held(self, now: float) -> float:
        """GPU-seconds that its pods have held without its running."""
        return sum(self.gang.gpus * h.pods * (now - h.since) for h in self.holds)


@dataclass(slots=True)
class Bill:
    """What a pool has cost and done."""

    node_seconds: float = 0.0
    ups: int = 0
    downs: int = 0
    added: int = 0
    removed: int = 0
    peak: int = 0
    lost: int = 0
    """Nodes that were taken away."""


@dataclass(eq=False)
class Pool:
    """One pool of the simulated cluster."""

    state: PoolState
    fresh: Shape
    stock: Stock = field(default_factory=Stock)
    nodes: dict[Shape, dict[int, Node]] = field(default_factory=dict)
    """By what they have free; those of one shape in the order in which they came to it."""
    ends: list[tuple[float, int]] = field(default_factory=list)
    """When GPUs are expected to be free and how many, ascending."""
    orders: list[Order] = field(default_factory=list)
    joined: int = 0
    newest: float | None = None
    made: int = 0
    history: PoolHistory | None = None
    bill: Bill = field(default_factory=Bill)

    @property
    def at_rest(self) -> bool:
        """Nothing more will go."""
        return not self.orders and (self.state.paused or self.joined <= self.state.min_nodes)

    def ledger(self, now: float) -> Ledger:
        """The books for a plan."""
        delivery = follow(self.state, self._count(), self.history, now)
        self.history = delivery.history
        return Ledger(self.state, delivery, self.stock.copy(), self.fresh, self.ends, now)

    def resize(self, size: int, now: float) -> None:
        """Another size is asked for."""
        if size > self.state.desired:
            self.bill.ups += 1
            self.bill.added += size - self.state.desired
        elif size < self.state.desired:
            self.bill.downs += 1
        self.state = replace(self.state, desired=size)
        for order in reversed(self.orders):
            order.nodes -= min(order.nodes, max(0, self._promised() - size))
        self.bill.peak = max(self.bill.peak, size)
        # The operator looks again within seconds and sees that the pool has grown.
        self.history = follow(self.state, self._count(), self.history, now).history

    def order(self, nodes: int, now: float) -> Order:
        """Nodes begin to boot."""
        order = Order(self, now, nodes)
        self.orders.append(order)
        return order

    def join(self, order: Order, now: float) -> list[Node]:
        """They have booted."""
        self.orders.remove(order)
        return [self.add(order.asked, now) for _ in range(order.nodes)]

    def add(self, asked: float, now: float) -> Node:
        """A node is ready."""
        node = Node(self.made, self, asked, now, self.fresh, now)
        self.made += 1
        self.joined += 1
        self.newest = now
        self._put(node, self.fresh)
        return node

    def remove(self, node: Node, now: float) -> None:
        """A node is gone."""
        self._drop(node)
        node.gone = True
        self.joined -= 1
        self.bill.node_seconds += now - node.asked

    def bind(self, want: Want, pods: int, now: float) -> list[Hold]:
        """Put pods on nodes that are free now; nodes that fell idle last are used first."""
        bound: list[Hold] = []
        for part in self.stock.plan(want, pods):
            line = self.nodes[part.shape]
            for _ in range(part.nodes):
                node = line[next(reversed(line))]
                self._drop(node)
                node.pods += part.pods
                node.cordoned_since = None
                self._put(node, filled(part.shape, want, part.pods))
                bound.append(Hold(self, want, node, part.pods, now))
        return bound

    def release(self, node: Node, want: Want, pods: int, now: float) -> None:
        """Pods leave a node."""
        if node.gone:
            return
        self._drop(node)
        node.pods -= pods
        if node.pods:
            self._put(node, filled(node.shape, want, -pods))
        else:
            node.empty_since = now
            self._put(node, self.fresh)

    def idle(self, now: float) -> Iterator[Empty]:
        """Empty nodes whose time is over, and cordoned ones."""
        for node in self.nodes.get(self.fresh, {}).values():
            over = now >= node.empty_since + self.state.idle_seconds
            if not over and node.cordoned_since is None:
                break
            yield Empty(str(node.number), node.empty_since, self.fresh, node.cordoned_since)

    def empty(self, name: str) -> Node:
        """An empty node by its name."""
        return self.nodes[self.fresh][int(name)]

    def next_idle(self) -> float | None:
        """When the node that is empty for longest has been so for its time."""
        line = self.nodes.get(self.fresh)
        if not line:
            return None
        return next(iter(line.values())).empty_since + self.state.idle_seconds

    def settle(self, now: float) -> None:
        """Pay for what is there at the end."""
        for line in self.nodes.values():
            self.bill.node_seconds += sum(now - node.asked for node in line.values())
        self.bill.node_seconds += sum((now - o.asked) * o.nodes for o in self.orders)

    def _promised(self) -> int:
        return self.joined + sum(order.nodes for order in self.orders)

    def _count(self) -> Count:
        return Count(self.joined, newest=self.newest)

    def _put(self, node: Node, shape: Shape) -> None:
        node.shape = shape
        self.nodes.setdefault(shape, {})[node.number] = node
        self.stock.add(shape, 1)

    def _drop(self, node: Node) -> None:
        del self.nodes[node.shape][node.number]
        self.stock.add(node.shape, -1)
