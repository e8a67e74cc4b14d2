"""What the pool policy is told and what it answers: plain facts, nothing of Kubernetes.

Times are seconds since the epoch, money is USD, memory is bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

State = Literal["placed", "scaling", "waits"]
"""`placed`: free nodes hold the gang now; `scaling`: nodes for it are under way or asked for;
`waits`: nothing is done for it, the reason says why."""


@dataclass(frozen=True, slots=True)
class Gang:
    """Pods that are of use only together, and that still wait for nodes.

    All of them are alike. They are served whole and by one pool, or not at all. A pod that belongs
    to nobody is a gang of one.
    """

    id: str
    """`<namespace>/<job>/<group>`."""
    pods: int
    """Pods that wait; what runs already is not counted."""
    gpus: int
    """GPUs of a pod."""
    since: float
    """When it began to wait."""
    cpu: float = 0.0
    """Cores of a pod."""
    memory: int = 0
    """Bytes of a pod."""
    pool: str | None = None
    """The pool it names."""
    accelerator: str | None = None
    """The kind of GPU it wants, where it names no pool."""
    spot: bool = False
    """May run on nodes that can be taken away; naming a spot pool says so too."""
    priority: int = 0
    """Higher goes first."""
    spent: float = 0.0
    """What its job has cost."""
    budget: float | None = None
    """What its job may cost; a pool's own limit for a job counts besides."""
    home: str | None = None
    """The pool where other pods of it run already; the rest must join them there."""
    admits: frozenset[str] | None = None
    """Pools whose labels and taints its pods accept; None: any."""
    seconds: float | None = None
    """How long it will run at most, such as its job's deadline. Only a gang that says so may use
    what a larger one ahead of it waits for, and be done in time."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """One node of a pool."""

    name: str
    ready: bool
    """Pods can run on it."""
    created: float
    """When it joined; one that is not ready in its pool's boot time after that is given up."""
    gpus: int
    """GPUs that pods may use."""
    gpus_used: int = 0
    """GPUs of pods bound to it."""
    cpus: float | None = None
    """Cores that pods may use; None: what the pool says of its nodes."""
    cpu_used: float = 0.0
    memory: int | None = None
    """Bytes that pods may use; None: what the pool says of its nodes."""
    memory_used: int = 0
    pods: int = 0
    """Pods bound to it that are somebody's work: GPU pods, and on pools without GPUs all but
    those of daemon sets. A node that has any is never removed."""
    empty_since: float | None = None
    """Since when it has none; None while it has."""
    cordoned_since: float | None = None
    """When we cordoned it; a cordon of someone else's is `unschedulable`."""
    unschedulable: bool = False
    """Takes no pods for a reason that is not ours; neither capacity nor ours to remove."""
    deletable: bool = True
    """The pool's mechanism may remove it, and nothing on it objects."""
    leaving: bool = False
    """Its removal is under way."""
    until: float | None = None
    """When the first of its pods will have ended: infinity for what never ends by itself, such as
    a service; None where it may be at any time. A gang that waits for what never ends keeps
    nobody waiting."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is known of the request for nodes that is under way."""

    at: float
    """When the pool's size was changed last."""
    seen: float | None = None
    """The newest sign that the request goes on (a machine made, a scale-up event); deadlines
    count from it."""
    failed: str = ""
    """The provider's words where it said that it cannot deliver; then nobody waits for it."""


@dataclass(frozen=True, slots=True)
class PoolState:
    """One pool: what its GPUNodePool says, and what there is."""

    name: str
    max_nodes: int
    gpus_per_node: int
    min_nodes: int = 0
    cpus_per_node: float | None = None
    memory_per_node: int | None = None
    accelerator: str | None = None
    price: float | None = None
    """USD an hour for one node."""
    spot: bool = False
    fallback: str | None = None
    """The pool used while this one cannot deliver."""
    idle_seconds: float = 600.0
    boot_seconds: float = 600.0
    max_step: int | None = None
    budget_per_hour: float | None = None
    budget_per_job: float | None = None
    paused: bool = False
    names_nodes: bool = True
    """Its mechanism can be told which nodes to remove. Where it cannot, nodes are removed only
    when the pool has no busy one."""
    unable: str = ""
    """Why its size cannot be changed now (its driver fails, its reference is gone); empty: can."""
    desired: int = 0
    """Its size as asked of the mechanism."""
    nodes: tuple[NodeState, ...] = ()
    change: Change | None = None
    """The last request, where it is known."""


@dataclass(frozen=True, slots=True)
class PoolHistory:
    """What the policy remembers of a pool from one call to the next."""

    desired: int | None = None
    """Size at the last call."""
    missing: int = 0
    """Nodes asked for that had not joined at the last call."""
    joined: int = 0
    """Nodes that had joined at the last call."""
    missing_since: float | None = None
    """Since when nodes are missing without any having joined."""
    scaled_up: float | None = None
    """When its size was seen to rise last."""
    failures: int = 0
    """Requests in a row that were not delivered in time."""
    blocked_until: float | None = None
    """After such a failure nothing is asked of it until then."""
    counted: bool = False
    """The request that is missing now is among `failures`."""


@dataclass(frozen=True, slots=True)
class History:
    """What the policy remembers; pass the last plan's. Losing it costs a few minutes' patience.

    Both mappings are keyed by name or id.
    """

    pools: Mapping[str, PoolHistory] = field(default_factory=dict)
    placed: Mapping[str, float] = field(default_factory=dict)
    """Since when free nodes could hold a gang that was not bound to them."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for an annotation or a file."""
        return {
            "pools": {name: asdict(pool) for name, pool in self.pools.items()},
            "placed": dict(self.placed),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> History:
        """The reverse; anything that is not what `to_dict` wrote is forgotten."""
        try:
            pools = {str(n): PoolHistory(**p) for n, p in data.get("pools", {}).items()}
            placed = {str(i): float(t) for i, t in data.get("placed", {}).items()}
        except (AttributeError, TypeError, ValueError):
            return cls()
        return cls(pools, placed)


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done with one pool, and why; without a change `after == before`."""

    pool: str
    before: int
    """Its size as asked for now."""
    after: int
    """Its size as it shall be."""
    reason: str
    """One word, such as ScaleUp; see :mod:`astroctl.pools.words`."""
    message: str
    """The same for people."""
    gangs: tuple[str, ...] = ()
    """Whom its free, coming and new nodes serve."""
    cordon: tuple[str, ...] = ()
    """Nodes that shall take no more pods."""
    uncordon: tuple[str, ...] = ()
    """Nodes of ours that are needed after all."""
    remove: tuple[str, ...] = ()
    """Nodes to remove: empty, cordoned before; their number is `before - after`, or less where a
    request for nodes that never came is withdrawn."""
    price: float | None = None
    """USD an hour for one node."""

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.before != self.after or self.cordon or self.uncordon or self.remove)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of one gang."""

    gang: str
    state: State
    reason: str
    """One word; see :mod:`astroctl.pools.words`."""
    message: str
    """The same for people, with what would help."""
    pool: str | None = None
    """The pool that serves it, or for which it waits."""
    new_nodes: int = 0
    """Nodes added for it by this plan."""
    ready_at: float | None = None
    """When its nodes are expected, if they are under way."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer: a decision for every pool, an outcome for every gang, in the order given."""

    decisions: tuple[Decision, ...]
    outcomes: tuple[Outcome, ...]
    history: History

    @property
    def changes(self) -> tuple[Decision, ...]:
        """The decisions that do something."""
        return tuple(d for d in self.decisions if d.changes)
