"""Everything that a decision about pools needs, looked at once; changes nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from astroctl.kube.client import Kube, Object
from astroctl.kube.plain import plain
from astroctl.kube.resources import POOL
from astroctl.kube.times import seconds
from astroctl.pools.cluster import nodes as noding
from astroctl.pools.cluster.survey import Survey, survey
from astroctl.pools.drivers.base import Driver, PoolSize
from astroctl.pools.drivers.choose import driver_of
from astroctl.pools.facts import pool_state
from astroctl.pools.model import Change, Decision, History, NodeState, Outcome, Plan, PoolState
from astroctl.pools.policy import decide
from astrosage.errors import AstroError, ConflictError, SpecError
from astrosage.spec.pool import GPUNodePool

log = logging.getLogger("astroctl.pools")
_AT_ONCE = 8
_LONGEST_REST = 300.0
MakeDriver = Callable[[Any, Kube], Driver]


@dataclass(slots=True)
class PoolLook:
    """One pool.

    Attributes:
        obj: The GPUNodePool as the API has it.
        pool: It, checked; None where it is not valid.
        driver: Its mechanism.
        size: What the mechanism says; None where it does not answer.
        error: Why not.
        nodes: Its nodes.
        state: The policy's facts.
        decision: What is to be done.
        waiting: What becomes of the gangs that this pool serves or keeps waiting.
    """

    obj: Object
    pool: GPUNodePool | None = None
    driver: Driver | None = None
    size: PoolSize | None = None
    error: AstroError | None = None
    nodes: dict[str, Object] = field(default_factory=dict)
    state: PoolState | None = None
    decision: Decision | None = None
    waiting: list[Outcome] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The pool's name."""
        return str(self.obj["metadata"]["name"])

    @property
    def status(self) -> dict[str, Any]:
        """Its status as the API has it."""
        return self.obj.get("status") or {}


@dataclass(slots=True)
class Look:
    """All pools, who waits, and what is to be done."""

    pools: list[PoolLook]
    survey: Survey
    plan: Plan


class Looker:
    """Looks again and again; remembers what need not be asked each time.

    Args:
        kube: The cluster.
        make_driver: Makes a pool's driver.
    """

    def __init__(self, kube: Kube, make_driver: MakeDriver = driver_of) -> None:
        self.kube, self._make_driver = kube, make_driver
        self.empty_since: dict[str, float] = {}
        self._drivers: dict[str, tuple[Any, Driver]] = {}
        self._sizes: dict[str, tuple[float, PoolSize]] = {}
        self._failing: dict[str, tuple[int, float, AstroError]] = {}

    def look(self, now: float) -> Look:
        """Look at everything and decide.

        Raises:
            AstroError: If pools, nodes or pods cannot be read.
        """
        found = [_read(obj) for obj in self.kube.list(POOL)]
        found.sort(key=lambda p: p.name)
        _tell_shared(found)
        self._forget({p.obj["metadata"]["uid"] for p in found})
        valid = [p for p in found if p.pool is not None]
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            list(threads.map(lambda p: self._ask(p, now), valid))
        seen = survey(self.kube, [p.pool for p in valid if p.pool is not None])
        for one in valid:
            one.nodes = seen.nodes[one.name]
            one.state = self._facts(one, seen, now)
        known = {name for one in valid for name in one.nodes}
        self.empty_since = {n: t for n, t in self.empty_since.items() if n in known}
        states = [p.state for p in valid if p.state is not None]
        plan = decide(seen.gangs, states, now, _history(valid))
        for one, decision in zip(valid, plan.decisions, strict=True):
            one.decision = decision
            one.waiting = [o for o in plan.outcomes if o.pool == one.name]
        return Look(found, seen, plan)

    def changed(self, one: PoolLook) -> None:
        """Its size was changed: what it said before is old."""
        self._sizes.pop(one.obj["metadata"]["uid"], None)

    def _ask(self, one: PoolLook, now: float) -> None:
        uid = one.obj["metadata"]["uid"]
        if one.error is not None:
            return
        failures, until, error = self._failing.get(uid, (0, 0.0, None))
        if error is not None and now < until and not self._respecified(one):
            one.error = error
            return
        try:
            one.driver = self._driver(one)
            one.size = self._size(one, uid, now)
            self._failing.pop(uid, None)
        except AstroError as raised:
            one.error = raised
        except Exception as raised:
            log.exception("pool %s: its driver failed", one.name)
            one.error = AstroError(f"its driver failed: {type(raised).__name__}: {raised}")
        if one.error is not None:
            rest = min(_LONGEST_REST, 10.0 * 2**failures)
            self._failing[uid] = (min(failures + 1, 10), now + rest, one.error)

    def _size(self, one: PoolLook, uid: str, now: float) -> PoolSize:
        assert one.driver is not None
        asked, size = self._sizes.get(uid, (0.0, None))
        if size is None or now >= asked + one.driver.poll_seconds:
            size = one.driver.get()
            self._sizes[uid] = (now, size)
        return size

    def _driver(self, one: PoolLook) -> Driver:
        assert one.pool is not None
        uid, spec = one.obj["metadata"]["uid"], one.obj["spec"]
        known = self._drivers.get(uid)
        if known is None or known[0] != spec:
            self._sizes.pop(uid, None)
            known = self._drivers[uid] = (spec, self._make_driver(one.pool.spec, self.kube))
        return known[1]

    def _respecified(self, one: PoolLook) -> bool:
        known = self._drivers.get(one.obj["metadata"]["uid"])
        return known is not None and known[0] != one.obj["spec"]

    def _forget(self, uids: set[str]) -> None:
        kept: list[dict[str, Any]] = [self._drivers, self._sizes, self._failing]
        for remembered in kept:
            for uid in set(remembered) - uids:
                del remembered[uid]

    def _facts(self, one: PoolLook, seen: Survey, now: float) -> PoolState:
        assert one.pool is not None
        size = one.size
        ours = size is not None and size.controls == "replicas"
        nodes = [self._node(one, node, seen, now, ours) for node in one.nodes.values()]
        joined = sum(not n.leaving for n in nodes)
        return pool_state(
            one.pool,
            nodes,
            desired_size(one, joined),
            change=_change(one),
            names_nodes=size is None or size.names_nodes,
            unable=unable(one),
        )

    def _node(self, one: PoolLook, node: Object, seen: Survey, now: float, ours: bool) -> NodeState:
        assert one.pool is not None
        name = node["metadata"]["name"]
        if seen.is_empty(one.pool, name):
            noted = seconds(noding.marks_of(node).get(noding.EMPTY_SINCE))
            since = self.empty_since.setdefault(name, noted or now)
        else:
            self.empty_since.pop(name, None)
            since = now
        pods = seen.pods.get(name, [])
        return noding.node_state(
            node, pods, one.pool.spec, empty_since=since, removable=ours and _nameable(one, node)
        )


def desired_size(one: PoolLook, joined: int) -> int:
    """The size asked of the mechanism.

    Where another autoscaler owns the number, what we gave it leave for counts as asked until it
    is there: so a pool that does not deliver shows as one.
    """
    if one.size is None:
        return int(one.status.get("desired") or joined)
    if one.size.controls == "replicas":
        return one.size.desired
    return max(one.size.desired, int(one.status.get("asked") or 0))


def unable(one: PoolLook) -> str:
    """Why the size cannot be changed; empty if it can."""
    if one.error is not None:
        return one.error.message
    if one.size is not None and one.size.controls == "nothing":
        return one.size.owner
    return ""


def _read(obj: Object) -> PoolLook:
    one = PoolLook(obj)
    try:
        one.pool = GPUNodePool.model_validate(plain(obj))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field_name = ".".join(str(part) for part in first["loc"]) or "spec"
        one.error = SpecError(f"{field_name}: {first['msg']}", "mend the pool")
    return one


def _tell_shared(pools: list[PoolLook]) -> None:
    """Two pools on one mechanism would undo each other's work; the first by name has it."""
    taken: dict[str, str] = {}
    for one in pools:
        if one.pool is None:
            continue
        spec = one.pool.spec
        key = json.dumps([spec.driver, spec.reference.to_yaml_dict()], sort_keys=True)
        if key in taken:
            one.error = ConflictError(
                f"pool {taken[key]} has the same reference", "delete one of the two pools"
            )
        taken.setdefault(key, one.name)


def _change(one: PoolLook) -> Change | None:
    at = seconds(one.status.get("lastScaleTime"))
    trouble = one.size.trouble if one.size else ""
    return Change(at=at, failed=trouble) if at else None


def _nameable(one: PoolLook, node: Object) -> bool:
    """A Cluster API node without its Machine cannot be named to it."""
    assert one.pool is not None
    reference = one.pool.spec.reference
    cluster_api = (reference.api_version or "").startswith("cluster.x-k8s.io/")
    named = one.size is not None and one.size.names_nodes
    return not (cluster_api and named) or noding.node_ref(node).machine is not None


def _history(pools: list[PoolLook]) -> History:
    """What the policy remembers, from the pools' own status: it survives whoever wrote it."""
    made = History()
    for one in pools:
        kept = _parsed(one.status.get("memory"))
        made = History(
            {**made.pools, **kept.pools},
            {**made.placed, **kept.placed},
        )
    return made


def memory_of(plan: Plan, one: PoolLook) -> str:
    """What the policy remembers of one pool, as text for its status."""
    own = plan.history.pools.get(one.name)
    mine = {o.gang for o in one.waiting}
    placed = {gang: at for gang, at in plan.history.placed.items() if gang in mine}
    kept = replace(plan.history, pools={one.name: own} if own else {}, placed=placed)
    return json.dumps(kept.to_dict(), sort_keys=True, separators=(",", ":"))


def _parsed(text: str | None) -> History:
    try:
        data = json.loads(text or "{}")
    except ValueError:
        return History()
    return History.from_dict(data) if isinstance(data, dict) else History()


def words_for(plan: Plan, namespace: str, job: str) -> list[Outcome]:
    """What the plan says of the gangs of one job."""
    return [o for o in plan.outcomes if o.gang.startswith(f"{namespace}/{job}/")]
