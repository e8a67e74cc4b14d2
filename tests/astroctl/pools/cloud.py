"""A small cloud made of the policy's own facts: it boots what is asked for and runs gangs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from astroctl.pools.model import Change, Decision, Gang, History, NodeState, Plan, PoolState
from astroctl.pools.policy import decide


@dataclass
class Running:
    gang: Gang
    pool: str
    places: list[tuple[str, int]]
    ends: float


@dataclass
class Cloud:
    """Carries plans out, and holds them to what no plan may do.

    Args:
        pools: Their sizes and nodes are where it starts.
        seconds: How long gangs run, by id; those that are not named run on.
        delivers: Pools whose new nodes come; default: all.
    """

    pools: dict[str, PoolState]
    seconds: dict[str, float] = field(default_factory=dict)
    delivers: frozenset[str] | None = None
    now: float = 0.0
    waiting: list[Gang] = field(default_factory=list)
    running: list[Running] = field(default_factory=list)
    asked: dict[str, list[float]] = field(default_factory=dict)
    history: History = field(default_factory=History)
    starts: dict[str, float] = field(default_factory=dict)
    made: int = 0

    @classmethod
    def of(cls, pools: Iterable[PoolState], **options: object) -> Cloud:
        return cls({pool.name: pool for pool in pools}, **options)  # type: ignore[arg-type]

    def step(self, seconds: float = 10.0) -> Plan:
        """Let time pass, and look once."""
        self.now += seconds
        self._end()
        self._boot()
        self._tell_ends()
        plan = decide(self.waiting, list(self.pools.values()), self.now, self.history)
        self.history = plan.history
        for decision in plan.decisions:
            self.carry_out(decision)
        for outcome in plan.outcomes:
            if outcome.state == "placed":
                assert outcome.pool is not None
                self._bind(outcome.gang, outcome.pool)
        return plan

    def carry_out(self, decision: Decision) -> None:
        pool = self.pools[decision.pool]
        nodes = {node.name: node for node in pool.nodes}
        for name in decision.cordon:
            nodes[name] = replace(nodes[name], cordoned_since=self.now)
        for name in decision.uncordon:
            nodes[name] = replace(nodes[name], cordoned_since=None)
        for name in decision.remove:
            assert nodes[name].pods == 0, f"{name} has work"
            assert nodes[name].cordoned_since is not None, f"{name} is open"
            del nodes[name]
        asked = self.asked.setdefault(pool.name, [])
        for _ in range(decision.after - decision.before):
            asked.append(self.now)
        missing = decision.after - len(nodes)
        del asked[max(0, missing) :]
        changed = decision.after != decision.before
        self.pools[pool.name] = replace(
            pool,
            desired=decision.after,
            nodes=tuple(nodes.values()),
            change=Change(self.now) if changed else pool.change,
        )

    def size(self, name: str) -> int:
        return len(self.pools[name].nodes)

    def _end(self) -> None:
        for run in [r for r in self.running if r.ends <= self.now]:
            self.running.remove(run)
            for name, pods in run.places:
                self._load(run.pool, name, -pods, run.gang)

    def _tell_ends(self) -> None:
        """Gangs that say how long they run at most tell when their nodes will be free."""
        ends: dict[str, list[float]] = {}
        for run in self.running:
            known = run.gang.seconds
            at = self.now if known is None else self.starts[run.gang.id] + known
            for name, _ in run.places:
                ends.setdefault(name, []).append(at)
        for name, pool in self.pools.items():
            nodes = (replace(n, until=min(ends.get(n.name, [self.now]))) for n in pool.nodes)
            self.pools[name] = replace(pool, nodes=tuple(nodes))

    def _boot(self) -> None:
        for name, asked in self.asked.items():
            pool = self.pools[name]
            if self.delivers is not None and name not in self.delivers:
                continue
            for at in [at for at in asked if at + pool.boot_seconds <= self.now]:
                asked.remove(at)
                self.made += 1
                node = NodeState(
                    f"{name}-{self.made}",
                    True,
                    self.now,
                    pool.gpus_per_node,
                    empty_since=self.now,
                )
                self.pools[name] = pool = replace(pool, nodes=(*pool.nodes, node))

    def _bind(self, gang_id: str, name: str) -> None:
        gang = next(g for g in self.waiting if g.id == gang_id)
        left, places = gang.pods, []
        tight = sorted(self.pools[name].nodes, key=lambda n: (not n.pods, n.gpus - n.gpus_used))
        for node in tight:
            count = min(left, (node.gpus - node.gpus_used) // max(1, gang.gpus))
            if count and node.ready and node.cordoned_since is None and not node.unschedulable:
                places.append((node.name, count))
                left -= count
        if left:
            return
        for node_name, count in places:
            self._load(name, node_name, count, gang)
        self.waiting.remove(gang)
        self.starts[gang.id] = self.now
        ends = self.now + self.seconds.get(gang.id, float("inf"))
        self.running.append(Running(gang, name, places, ends))

    def _load(self, pool: str, name: str, pods: int, gang: Gang) -> None:
        def loaded(node: NodeState) -> NodeState:
            if node.name != name:
                return node
            count = node.pods + pods
            return replace(
                node,
                pods=count,
                gpus_used=node.gpus_used + pods * gang.gpus,
                empty_since=None if count else self.now,
            )

        state = self.pools[pool]
        self.pools[pool] = replace(state, nodes=tuple(loaded(n) for n in state.nodes))


def carried_out(pools: Sequence[PoolState], plan: Plan, now: float) -> list[PoolState]:
    """The facts when a plan has been carried out and nothing else has happened."""
    cloud = Cloud.of(pools, now=now)
    for decision in plan.decisions:
        cloud.carry_out(decision)
    return list(cloud.pools.values())
