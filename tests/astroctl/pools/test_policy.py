"""Each rule of the policy by example."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import pytest

from astroctl.pools.model import (
    Change,
    Decision,
    Gang,
    History,
    NodeState,
    Outcome,
    Plan,
    PoolHistory,
    PoolState,
)
from astroctl.pools.policy import UNBOUND_RETRY_SECONDS, UNBOUND_SECONDS, decide

NOW = 100_000.0
GIB = 2**30


def pool(name: str = "a", **values: Any) -> PoolState:
    made = PoolState(name, values.pop("max_nodes", 16), values.pop("gpus_per_node", 8), **values)
    return replace(made, desired=values.get("desired", len(made.nodes)))


def node(name: str, used: int = 0, gpus: int = 8, **values: Any) -> NodeState:
    pods = values.pop("pods", used)
    values.setdefault("empty_since", None if pods else NOW - 60)
    return NodeState(name, values.pop("ready", True), values.pop("created", 0.0), gpus, used,
                     pods=pods, **values)  # fmt: skip


def gang(name: str = "g", pods: int = 1, gpus: int = 8, **values: Any) -> Gang:
    return Gang(f"ns/{name}/0", pods, gpus, values.pop("since", NOW - 5), **values)


def plan(gangs: list[Gang], pools: list[PoolState], history: History | None = None) -> Plan:
    return decide(gangs, pools, NOW, history)


def only(gangs: list[Gang], *pools: PoolState, history: History | None = None) -> Outcome:
    return plan(gangs, list(pools), history).outcomes[-1]


def size(made: Plan, name: str = "a") -> int:
    return of(made, name).after


def of(made: Plan, name: str = "a") -> Decision:
    return next(d for d in made.decisions if d.pool == name)


# Whole gangs, one pool.


def test_a_gang_gets_all_its_nodes_at_once() -> None:
    made = plan([gang(pods=4)], [pool()])
    assert (size(made), of(made).gangs) == (4, ("ns/g/0",))
    outcome = made.outcomes[0]
    assert (outcome.state, outcome.new_nodes, outcome.ready_at) == ("scaling", 4, NOW + 600)
    assert outcome.message == "pool a adds 4 nodes for it, expected in 10m00s"


def test_free_nodes_and_those_under_way_are_counted_before_new_ones() -> None:
    nodes = (node("a-1"), node("a-2", used=8), node("a-3", ready=False, created=NOW - 10))
    made = plan([gang(pods=5)], [pool(nodes=nodes, desired=4)])
    assert (size(made), made.outcomes[0].new_nodes) == (6, 2)


def test_half_a_gang_gets_nothing() -> None:
    nodes = tuple(node(f"a-{i}", used=8) for i in range(2))
    made = plan([gang(pods=3)], [pool(nodes=nodes, max_nodes=4)])
    assert size(made) == 2
    assert (made.outcomes[0].state, made.outcomes[0].reason) == ("waits", "AtMaximum")


def test_two_pools_do_not_share_a_gang() -> None:
    made = plan([gang(pods=3)], [pool("a", max_nodes=2), pool("b", max_nodes=2)])
    assert made.outcomes[0].reason == "GangTooBig"
    assert not made.changes


def test_fragments_do_not_add_up() -> None:
    """Eight free GPUs on two nodes hold no pod of eight, but two of four."""
    nodes = (node("a-1", used=4), node("a-2", used=4))
    assert plan([gang(gpus=8)], [pool(nodes=nodes)]).outcomes[0].new_nodes == 1
    assert only([gang(pods=2, gpus=4)], pool(nodes=nodes)).state == "placed"
    assert plan([gang(pods=3, gpus=3)], [pool(nodes=nodes)]).outcomes[0].new_nodes == 1


def test_pods_are_packed_tightly() -> None:
    """Three of three GPUs: two go on one node of eight."""
    assert size(plan([gang(pods=3, gpus=3)], [pool()])) == 2
    nodes = (node("a-1"), node("a-2", used=6))
    made = plan([gang("one", gpus=2), gang("two", gpus=8)], [pool(nodes=nodes)])
    assert [o.state for o in made.outcomes] == ["placed", "placed"]


def test_cores_and_memory_count_where_they_are_known() -> None:
    big = pool(cpus_per_node=32.0, memory_per_node=256 * GIB)
    assert size(plan([gang(pods=4, gpus=2, cpu=8.0)], [big])) == 1
    assert size(plan([gang(pods=4, gpus=2, cpu=16.0)], [big])) == 2
    assert size(plan([gang(pods=4, gpus=2, memory=200 * GIB)], [big])) == 4
    busy = pool(nodes=(node("a-1", cpus=32.0, cpu_used=30.0),))
    assert plan([gang(gpus=1, cpu=4.0)], [busy]).outcomes[0].new_nodes == 1


def test_a_pod_too_big_for_a_node_is_told_so() -> None:
    assert "a pod wants 16 GPUs, a node has 8" in only([gang(gpus=16)], pool()).message
    small = pool(cpus_per_node=8.0, memory_per_node=64 * GIB)
    assert "16 cores, a node has 8" in only([gang(cpu=16.0)], small).message
    assert (
        "100.0 GiB of memory, a node has 64.0 GiB" in only([gang(memory=100 * GIB)], small).message
    )


def test_nodes_show_what_the_pool_does_not_say() -> None:
    """Otherwise a pod that fits on no node would make the pool grow for ever."""
    seen = pool(nodes=(node("a-1", cpus=16.0, memory=64 * GIB),))
    assert only([gang(cpu=32.0)], seen).reason == "PodTooBig"
    four = pool(nodes=(node("a-1", gpus=4),))
    assert only([gang(gpus=8)], four).reason == "PodTooBig"


def test_nodes_whose_gpus_are_not_known_yet_are_under_way() -> None:
    """A node is ready some time before its GPUs are registered."""
    fresh = pool(nodes=(node("a-1", gpus=0, created=NOW - 60),))
    made = plan([gang()], [fresh])
    assert (made.outcomes[0].state, size(made)) == ("scaling", 1)


def test_pools_without_gpus() -> None:
    by_node = pool(gpus_per_node=0)
    assert size(plan([gang(pods=3, gpus=0)], [by_node])) == 3
    by_core = pool(gpus_per_node=0, cpus_per_node=8.0)
    assert size(plan([gang(pods=3, gpus=0, cpu=4.0)], [by_core])) == 2
    used = pool(gpus_per_node=0, nodes=(node("a-1", gpus=0, pods=1),))
    assert plan([gang(gpus=0)], [used]).outcomes[0].new_nodes == 1


def test_the_rest_of_a_gang_joins_what_runs() -> None:
    cheap = pool("cheap", price=1.0)
    made = plan([gang(home="dear", pods=2)], [cheap, pool("dear", price=9.0)])
    assert made.outcomes[0].pool == "dear"


# Which pool.


def test_the_cheapest_that_fits() -> None:
    pools = [pool("a", price=30.0), pool("b", price=20.0), pool("c", price=10.0, gpus_per_node=4)]
    assert only([gang()], *pools).pool == "b"
    assert only([gang(gpus=4)], *pools).pool == "c"
    # Two nodes of c for eight GPUs cost as much as one of b; less is wasted nowhere.
    assert only([gang(pods=3, gpus=4)], *pools).pool == "c"


def test_accelerator() -> None:
    pools = [pool("a", accelerator="A100", price=1.0), pool("h", accelerator="H100", price=9.0)]
    assert only([gang(accelerator="h100")], *pools).pool == "h"
    told = only([gang(accelerator="B200")], *pools)
    assert told.reason == "OtherKind"
    assert "pool a has A100, not B200" in told.message


def test_spot_first_where_it_is_allowed() -> None:
    pools = [pool("spot", spot=True, price=10.0), pool("sure", price=30.0)]
    assert only([gang(spot=True)], *pools).pool == "spot"
    assert only([gang()], *pools).pool == "sure"
    assert only([gang(pool="spot")], *pools).pool == "spot"
    assert only([gang()], pools[0]).reason == "SpotNotAllowed"


def test_free_nodes_of_a_dearer_pool_are_used_before_any_is_added() -> None:
    pools = [pool("cheap", price=1.0), pool("dear", price=9.0, nodes=(node("d-1"),))]
    made = plan([gang()], pools)
    assert (made.outcomes[0].state, made.outcomes[0].pool, made.changes) == ("placed", "dear", ())


def test_the_named_pool_or_its_fallback() -> None:
    full = tuple(node(f"a-{i}", used=8) for i in range(2))
    pools = [pool("a", nodes=full, max_nodes=2, fallback="b"), pool("b"), pool("c", price=0.1)]
    assert only([gang(pool="a")], *pools).pool == "b"
    told = only([gang(pool="z")], *pools)
    assert (told.reason, told.message) == (
        "NoPool",
        "there is no pool z; set cluster.pool to one of: a, b, c",
    )


def test_fallbacks_in_a_circle_end() -> None:
    pools = [pool("a", fallback="b", paused=True), pool("b", fallback="a", paused=True)]
    assert only([gang(pool="a")], *pools).reason == "Paused"


def test_pools_whose_taints_the_pods_do_not_bear() -> None:
    pools = [pool("a", price=1.0), pool("b", price=2.0)]
    assert only([gang(admits=frozenset({"b"}))], *pools).pool == "b"
    assert only([gang(pool="a", admits=frozenset())], *pools).reason == "NotAdmitted"


def test_no_pools() -> None:
    assert only([gang()]).reason == "NoPool"


# Turns.


def test_priority_then_age() -> None:
    one = pool(max_nodes=1)
    old, young = gang("old", since=1.0), gang("young", since=2.0)
    assert [o.state for o in plan([young, old], [one]).outcomes] == ["waits", "scaling"]
    young = replace(young, priority=1)
    assert [o.state for o in plan([young, old], [one]).outcomes] == ["scaling", "waits"]


def test_who_runs_in_part_goes_first() -> None:
    one = pool(max_nodes=1)
    gangs = [gang("old", since=1.0), gang("half", since=2.0, home="a")]
    assert [o.state for o in plan(gangs, [one]).outcomes] == ["waits", "scaling"]


def test_a_small_gang_does_not_take_what_a_large_one_waits_for() -> None:
    nodes = (node("a-1", used=8), node("a-2"), node("a-3"))
    state = pool(nodes=nodes, max_nodes=3)
    made = plan([gang("large", pods=3, since=1.0), gang("small", since=2.0)], [state])
    assert [o.reason for o in made.outcomes] == ["AtMaximum", "Behind"]
    assert "ns/large/0 is ahead of it" in made.outcomes[1].message


def test_a_small_gang_uses_gaps_that_the_large_one_can_do_without() -> None:
    """The large one needs two whole nodes of three; the gap on the third is nobody's."""
    nodes = (node("a-1", used=8), node("a-2", used=4), node("a-3"))
    state = pool(nodes=nodes, max_nodes=3)
    gangs = [gang("large", pods=2, since=1.0), gang("small", gpus=4, since=2.0)]
    assert [o.state for o in plan(gangs, [state]).outcomes] == ["waits", "placed"]
    gangs[0] = gang("large", pods=3, since=1.0)
    assert [o.state for o in plan(gangs, [state]).outcomes] == ["waits", "waits"]


def test_a_small_gang_that_will_be_done_in_time_passes() -> None:
    nodes = (node("a-1", used=8, until=NOW + 1000), node("a-2"), node("a-3"))
    state = pool(nodes=nodes, max_nodes=3)
    large = gang("large", pods=3, since=1.0)
    assert only([large, gang("short", seconds=900.0)], state).state == "placed"
    assert only([large, gang("long", seconds=1100.0)], state).state == "waits"
    assert only([large, gang("unknown")], state).state == "waits"


def test_what_is_lent_may_be_nodes_that_are_not_there_yet() -> None:
    busy = (node("a-1", used=8, until=NOW + 2000),)
    state = pool(nodes=busy, max_nodes=3)
    large = gang("large", pods=3, since=1.0)
    assert only([large, gang("short", seconds=1300.0)], state).new_nodes == 1
    # It would be done in time, but not together with the nodes' boot time.
    assert only([large, gang("longer", seconds=1500.0)], state).state == "waits"


def test_who_waits_for_what_never_ends_keeps_nobody_waiting() -> None:
    nodes = (node("a-1", used=8, until=math.inf), node("a-2"), node("a-3"))
    state = pool(nodes=nodes, max_nodes=3)
    assert only([gang("large", pods=3, since=1.0), gang("small")], state).state == "placed"


def test_who_can_never_be_served_keeps_nobody_waiting() -> None:
    made = plan([gang("huge", pods=99, since=1.0), gang("small")], [pool()])
    assert [o.reason for o in made.outcomes] == ["GangTooBig", "ScaleUp"]


# Limits.


def test_the_budget_of_an_hour() -> None:
    state = pool(price=10.0, budget_per_hour=35.0)
    assert only([gang(pods=4)], state).reason == "OverBudget"
    made = plan([gang("x", pods=2, since=1.0), gang("y", pods=2)], [state])
    assert size(made) == 2
    assert made.outcomes[1].reason == "OverBudget"
    assert "may have 3 nodes for its budget of 35 USD an hour" in made.outcomes[1].message


def test_a_budget_counts_more_than_a_minimum() -> None:
    made = plan([], [pool(price=10.0, budget_per_hour=15.0, min_nodes=3)])
    assert size(made) == 1
    state = pool(price=10.0, budget_per_hour=15.0, min_nodes=3, nodes=(node("a-1"),))
    assert of(plan([], [state])).reason == "OverBudget"


def test_a_job_that_has_spent_its_budget_gets_no_more_nodes() -> None:
    spent = gang(spent=50.0, budget=40.0)
    assert only([spent], pool()).reason == "JobBudgetSpent"
    assert only([gang(spent=50.0)], pool(budget_per_job=40.0)).reason == "JobBudgetSpent"
    # What is there and free it may use; and it keeps nobody waiting.
    assert only([spent], pool(nodes=(node("a-1"),))).state == "placed"
    assert only([spent, gang("other")], pool(max_nodes=1)).state == "scaling"


def test_growth_in_steps() -> None:
    state = pool(max_step=3)
    gangs = [gang(f"g{i}", pods=2, since=float(i)) for i in range(3)]
    made = plan(gangs, [state])
    assert (size(made), [o.reason for o in made.outcomes]) == (2, ["ScaleUp", "Step", "Behind"])
    # A gang that is larger than a step is not cut: it goes alone.
    assert size(plan([gang(pods=5)], [state])) == 5
    under_way = replace(state, desired=1)
    assert size(plan([gang("x"), gang("y", pods=5)], [under_way])) == 1


def test_minimum_and_lowered_maximum() -> None:
    assert size(plan([], [pool(min_nodes=3)])) == 3
    assert size(plan([], [pool(min_nodes=3, max_step=2)])) == 2
    nodes = (node("a-1", used=8), node("a-2", used=8), node("a-3"))
    made = plan([], [pool(nodes=nodes, max_nodes=1, desired=6)])
    assert size(made) == 3
    rested = replace(nodes[2], cordoned_since=NOW - 60)
    made = plan([], [pool(nodes=(*nodes[:2], rested), max_nodes=1)])
    assert (size(made), of(made).remove) == (2, ("a-3",))


def test_paused_and_unable() -> None:
    idle = node("a-1", empty_since=0.0)
    for values in ({"paused": True}, {"unable": "no access"}):
        state = pool(nodes=(idle,), min_nodes=3, **values)
        made = plan([gang(pods=2)], [state])
        assert not made.changes
        assert made.outcomes[0].state == "waits"
        assert only([gang()], state).state == "placed"


# Pools that do not deliver.


def late(**values: Any) -> tuple[PoolState, History]:
    state = pool("spot", spot=True, desired=2, change=Change(NOW - 1000), **values)
    past = PoolHistory(desired=2, missing=2, missing_since=NOW - 1000)
    return state, History({"spot": past})


def test_late_nodes_are_given_up_for_a_fallback() -> None:
    state, history = late(fallback="sure")
    made = plan([gang(pods=2, pool="spot")], [state, pool("sure")], history)
    assert (size(made, "spot"), size(made, "sure")) == (0, 2)
    assert of(made, "spot").reason == "Withdraw"
    assert "2 nodes of pool spot have not come since 16m40s" in of(made, "spot").message
    assert made.history.pools["spot"].blocked_until == NOW + 1200


def test_late_nodes_are_waited_for_where_there_is_no_other_pool() -> None:
    state, history = late()
    made = plan([gang(pods=2, pool="spot")], [state], history)
    assert (made.changes, made.outcomes[0].reason) == ((), "Late")


def test_a_provider_that_says_no_is_not_waited_for() -> None:
    state, history = late(fallback="sure")
    failed = replace(state, change=Change(NOW - 5, failed="no capacity in zone b"))
    history = History({"spot": PoolHistory(desired=2, missing=2, missing_since=NOW - 5)})
    made = plan([gang(pods=2, pool="spot")], [failed, pool("sure")], history)
    assert made.outcomes[0].pool == "sure"
    assert "no capacity in zone b" in of(made, "spot").message


def test_a_sign_of_life_renews_patience() -> None:
    state, history = late(fallback="sure")
    seen = replace(state, change=Change(NOW - 1000, seen=NOW - 100))
    assert plan([gang(pods=2, pool="spot")], [seen, pool("sure")], history).changes == ()


def test_a_node_that_joins_while_another_goes_is_a_sign_of_life() -> None:
    state, history = late(fallback="sure")
    state = replace(state, desired=3, nodes=(node("s-1", used=8, created=NOW - 100),))
    assert plan([gang(pods=2, pool="spot")], [state, pool("sure")], history).changes == ()


def test_nodes_that_join_and_do_not_become_ready() -> None:
    """A gang does not drive such a pool to its maximum."""
    dead = tuple(node(f"s-{i}", ready=False, created=NOW - 2000) for i in range(2))
    state = pool("spot", nodes=dead, fallback="sure")
    made = plan([gang(pods=2, pool="spot")], [state, pool("sure")])
    assert (size(made, "spot"), made.outcomes[0].pool) == (2, "sure")
    alone = plan([gang(pods=2)], [state])
    assert (size(alone, "spot"), alone.outcomes[0].reason) == (2, "Stuck")
    assert "did not become ready" in alone.outcomes[0].message


# Shrinking.


def idle(name: str, since: float = NOW - 700, **values: Any) -> NodeState:
    return node(name, empty_since=since, **values)


def test_idle_nodes_are_cordoned_and_then_removed() -> None:
    nodes = (idle("a-1"), idle("a-2", since=NOW - 30), node("a-3", used=1))
    made = of(plan([], [pool(nodes=nodes)]))
    assert (made.after, made.cordon, made.remove, made.reason) == (3, ("a-1",), (), "Cordon")
    soon = replace(nodes[0], cordoned_since=NOW - 10)
    assert not of(plan([], [pool(nodes=(soon, *nodes[1:]))])).changes
    rested = replace(nodes[0], cordoned_since=NOW - 40)
    made = of(plan([], [pool(nodes=(rested, *nodes[1:]))]))
    assert (made.after, made.remove, made.reason) == (2, ("a-1",), "ScaleDown")


def test_a_cordoned_node_that_is_needed_is_opened_again() -> None:
    rested = idle("a-1", cordoned_since=NOW - 40)
    made = plan([gang()], [pool(nodes=(rested,))])
    assert made.outcomes[0].state == "placed"
    assert (of(made).uncordon, of(made).remove) == (("a-1",), ())


def test_a_cordoned_node_on_which_a_pod_came_after_all_is_opened_again() -> None:
    taken = node("a-1", used=8, cordoned_since=NOW - 40)
    made = of(plan([], [pool(nodes=(taken,))]))
    assert (made.uncordon, made.remove) == (("a-1",), ())


def test_the_minimum_stays() -> None:
    nodes = tuple(idle(f"a-{i}", since=NOW - 1000 + i, cordoned_since=NOW - 60) for i in range(4))
    made = of(plan([], [pool(nodes=nodes, min_nodes=3)]))
    assert (made.after, made.remove) == (3, ("a-0",))
    assert made.uncordon == ("a-1", "a-2", "a-3")


@pytest.mark.parametrize(
    "why", ["under way", "just grown", "kept", "not ours", "someone else's cordon", "leaving"]
)
def test_idle_nodes_that_stay(why: str) -> None:
    nodes: tuple[NodeState, ...] = (idle("a-1"), node("a-2", used=8))
    gangs: list[Gang] = []
    history = History()
    desired, most = 2, 2
    if why == "under way":
        desired = most = 3
        nodes = (idle("a-1", gpus=4), nodes[1])
        gangs = [gang()]
    elif why == "just grown":
        history = History({"a": PoolHistory(desired=2, joined=2, scaled_up=NOW - 100)})
    elif why == "kept":
        gangs = [gang(pods=2)]
    elif why == "not ours":
        nodes = (replace(nodes[0], deletable=False), nodes[1])
    elif why == "someone else's cordon":
        nodes = (replace(nodes[0], unschedulable=True), nodes[1])
    else:
        nodes = (replace(nodes[0], leaving=True), nodes[1])
        desired = 1
    made = of(plan(gangs, [pool(nodes=nodes, max_nodes=most, desired=desired)], history))
    assert not made.changes


def test_a_replacement_that_nobody_waits_for_keeps_no_idle_node() -> None:
    """Where nodes are taken away all the time, there is always one under way."""
    made = of(plan([], [pool(nodes=(idle("a-1"), node("a-2", used=8)), desired=3)]))
    assert made.cordon == ("a-1",)


def test_where_the_mechanism_chooses_only_an_idle_pool_shrinks() -> None:
    nodes = (idle("a-1"), node("a-2", used=1))
    assert not of(plan([], [pool(nodes=nodes, names_nodes=False)])).changes
    nodes = (idle("a-1"), idle("a-2", since=NOW - 1))
    made = of(plan([], [pool(nodes=nodes, names_nodes=False)]))
    assert made.cordon == ("a-1", "a-2")
    rested = tuple(replace(n, cordoned_since=NOW - 60) for n in nodes)
    made = of(plan([], [pool(nodes=rested, names_nodes=False)]))
    assert (made.after, made.remove) == (1, ())
    # Until one is gone, none of them is capacity; then the other is opened again.
    shrinking = pool(nodes=rested, names_nodes=False, desired=1)
    assert plan([gang()], [shrinking]).outcomes[0].new_nodes == 1
    left = of(plan([], [pool(nodes=rested[1:], names_nodes=False, desired=1)]))
    assert left.uncordon == ("a-2",)


def test_dead_nodes_go() -> None:
    dead = node("a-1", ready=False, created=NOW - 5000, empty_since=0.0)
    made = of(plan([], [pool(nodes=(dead, node("a-2", used=8)))]))
    assert made.cordon == ("a-1",)


# Pods that do not go where there is room.


def test_a_gang_that_is_not_bound_to_free_nodes_is_not_served_for_ever() -> None:
    state = pool(nodes=(idle("a-1"),))
    first = plan([gang()], [state])
    assert first.outcomes[0].state == "placed"
    later = NOW + UNBOUND_SECONDS
    second = decide([gang()], [state], later, first.history)
    assert second.outcomes[0].reason == "Unbound"
    assert of(second).cordon == ("a-1",)
    gone = decide([gang()], [pool()], later + 100, second.history)
    assert not gone.changes
    again = decide([gang()], [pool()], later + UNBOUND_RETRY_SECONDS, gone.history)
    assert size(again) == 1


# What is remembered.


def test_damaged_memory_is_forgotten() -> None:
    assert History.from_dict({"pools": {"a": {"unknown": 1}}}) == History()
    assert History.from_dict({"pools": 3}) == History()
    assert History.from_dict({}) == History()


def test_ten_thousand_pods_on_a_thousand_nodes() -> None:
    """Takes some tenths of a second on an idle machine."""
    nodes = tuple(node(f"a-{i}", used=i % 9) for i in range(1000))
    gangs = [gang(f"g{i:05d}", pods=1 + i % 4, gpus=1 + i % 3, since=float(i)) for i in range(4000)]
    began = time.process_time()
    made = plan(gangs, [pool(nodes=nodes, max_nodes=2000)])
    assert time.process_time() - began < 3
    assert len(made.outcomes) == 4000
    assert size(made) == 2000
