"""What every plan must keep to, whatever the facts."""

from __future__ import annotations

import json
import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from astroctl.pools.model import Decision, Gang, History, NodeState, PoolState
from astroctl.pools.policy import decide
from astroctl.pools.queue import order
from tests.astroctl.pools.cloud import carried_out
from tests.astroctl.pools.facts import NOW, worlds

World = tuple[list[Gang], list[PoolState], History]
examples = settings(max_examples=5000, deadline=None)


def joined(pool: PoolState) -> list[NodeState]:
    return [node for node in pool.nodes if not node.leaving]


@given(worlds())
@examples
def test_pools_stay_within_their_limits(world: World) -> None:
    gangs, pools, history = world
    plan = decide(gangs, pools, NOW, history)
    for pool, decision in zip(pools, plan.decisions, strict=True):
        assert (decision.pool, decision.before) == (pool.name, pool.desired)
        never_over_maximum_or_budget(pool, decision)
        if decision.after < pool.desired:
            assert decision.after >= pool.min_nodes
        if pool.paused or pool.unable:
            assert not decision.changes
        new = sum(o.new_nodes for o in plan.outcomes if o.pool == pool.name)
        assert decision.after - pool.desired <= new + max(0, pool.min_nodes - pool.desired)


def never_over_maximum_or_budget(pool: PoolState, decision: Decision) -> None:
    if decision.after > pool.desired:
        assert decision.after <= pool.max_nodes
        if pool.budget_per_hour is not None and pool.price:
            assert decision.after * pool.price <= pool.budget_per_hour + 1e-6


@given(worlds())
@examples
def test_only_empty_nodes_go_and_only_after_a_cordon(world: World) -> None:
    gangs, pools, history = world
    for pool, decision in zip(pools, decide(gangs, pools, NOW, history).decisions, strict=True):
        nodes = {node.name: node for node in pool.nodes}
        for node in (nodes[name] for name in decision.remove):
            assert not node.pods
            assert not node.leaving
            assert not node.unschedulable
            assert node.deletable
            assert node.cordoned_since is not None
        for node in (nodes[name] for name in decision.cordon):
            assert not node.pods
            assert node.cordoned_since is None
        assert not set(decision.remove) & set(decision.uncordon)
        there = min(len(joined(pool)), pool.desired)
        if pool.names_nodes:
            assert decision.after >= there - len(decision.remove)
        elif decision.after < there:
            # Whoever cannot say which nodes go shrinks a pool only when all are idle.
            assert not any(n.pods for n in joined(pool))


@given(worlds())
@examples
def test_every_gang_is_served_whole_or_waits_with_a_reason(world: World) -> None:
    gangs, pools, history = world
    plan = decide(gangs, pools, NOW, history)
    assert [o.gang for o in plan.outcomes] == [g.id for g in gangs]
    for outcome in plan.outcomes:
        assert outcome.reason
        assert outcome.message
        assert outcome.state == "scaling" or not outcome.new_nodes
    for pool, decision in zip(pools, plan.decisions, strict=True):
        ends = zip(gangs, plan.outcomes, strict=True)
        served = [g for g, o in ends if o.pool == pool.name and o.state != "waits"]
        assert {g.id for g in served} <= set(decision.gangs)
        free = sum(n.gpus - n.gpus_used for n in joined(pool) if not n.unschedulable)
        there = min(len(joined(pool)), pool.desired)
        coming = max(0, decision.after - there) * pool.gpus_per_node
        assert sum(g.pods * g.gpus for g in served) <= free + coming
        assert all(g.gpus <= pool.gpus_per_node for g in served)


@given(worlds(), st.integers(0, 1000))
@examples
def test_same_facts_same_plan_in_whatever_order(world: World, seed: int) -> None:
    gangs, pools, history = world
    plan = decide(gangs, pools, NOW, history)
    assert decide(gangs, pools, NOW, history) == plan
    dice = random.Random(seed)
    mixed = [replace(p, nodes=tuple(dice.sample(p.nodes, len(p.nodes)))) for p in pools]
    other = decide(dice.sample(gangs, len(gangs)), dice.sample(mixed, len(mixed)), NOW, history)
    assert {d.pool: d.after for d in other.decisions} == {d.pool: d.after for d in plan.decisions}
    assert {o.gang: o for o in other.outcomes} == {o.gang: o for o in plan.outcomes}


@given(worlds())
@examples
def test_nothing_is_left_to_do_when_a_plan_has_been_carried_out(world: World) -> None:
    gangs, pools, history = world
    plan = decide(gangs, pools, NOW, history)
    again = decide(gangs, carried_out(pools, plan, NOW), NOW, plan.history)
    # Where the mechanism chooses which nodes go, and where it was still at it, there is more to
    # see when they have gone.
    moving = {p.name for p in pools if len(joined(p)) > p.desired}
    moving |= {d.pool for d in plan.decisions if d.after < d.before and not d.remove}
    assert [d for d in again.changes if d.pool not in moving] == []


@given(worlds())
@examples
def test_who_comes_later_changes_nothing_for_who_came_first(world: World) -> None:
    gangs, pools, history = world
    whole = {o.gang: o for o in decide(gangs, pools, NOW, history).outcomes}
    ranked = sorted(gangs, key=order)
    for count in range(1, len(ranked) + 1):
        part = decide(ranked[:count], pools, NOW, history)
        assert part.outcomes[-1] == whole[ranked[count - 1].id]


@given(worlds())
@examples
def test_history_survives_as_text(world: World) -> None:
    gangs, pools, history = world
    kept = decide(gangs, pools, NOW, history).history
    assert History.from_dict(json.loads(json.dumps(kept.to_dict()))) == kept
