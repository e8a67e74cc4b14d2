"""The policy over time, on a cloud that boots nodes and runs gangs."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astroctl.pools.model import Gang, PoolState
from astroctl.pools.queue import order
from tests.astroctl.pools.cloud import Cloud

few = settings(max_examples=15, deadline=None)
SIZES = st.tuples(st.integers(1, 4), st.sampled_from([1, 2, 4]))


def pool(name: str = "a", most: int = 6, gpus: int = 4, **more: object) -> PoolState:
    values: dict[str, object] = {"idle_seconds": 120.0, "boot_seconds": 60.0, "price": 2.0}
    return PoolState(name, most, gpus, **{**values, **more})  # type: ignore[arg-type]


def pods_on(cloud: Cloud, name: str) -> int:
    return sum(node.pods for node in cloud.pools[name].nodes)


@given(
    st.lists(SIZES, min_size=1, max_size=6),
    st.integers(0, 3),
    st.sampled_from([None, 2]),
    st.sampled_from([True, False]),
)
@few
def test_constant_demand_comes_to_rest(
    sizes: list[tuple[int, int]], least: int, step: int | None, names: bool
) -> None:
    """Whatever gangs run for ever: finitely many changes, then none, and everything that fits."""
    cloud = Cloud.of([pool(min_nodes=least, max_step=step, names_nodes=names)])
    cloud.waiting = [Gang(f"n/j{i}/0", pods, gpus, 0.0) for i, (pods, gpus) in enumerate(sizes)]
    changed = [bool(cloud.step().changes) for _ in range(160)]
    assert not any(changed[100:])
    assert cloud.size("a") >= least
    # What waits does not fit, but for those behind the first one that does not.
    for gang in sorted(cloud.waiting, key=order)[:1]:
        free = sum((node.gpus - node.gpus_used) // gang.gpus for node in cloud.pools["a"].nodes)
        assert gang.pods > free + (6 - cloud.size("a")) * (4 // gang.gpus)


@given(st.integers(0, 10_000), st.sampled_from([None, 600.0]))
@few
def test_random_work_keeps_every_rule_and_starves_nobody(seed: int, known: float | None) -> None:
    """Jobs of all sizes for hours; every one starts, no node with work goes, limits hold."""
    dice = random.Random(seed)
    cloud = Cloud.of(
        [
            pool("spot", 3, spot=True, price=1.0, fallback="sure"),
            pool("sure", 5, max_step=2, budget_per_hour=8.0),
        ]
    )
    jobs = []
    for number in range(25):
        gang = Gang(
            f"n/j{number:02d}/0",
            pods=dice.randint(1, 4),
            gpus=dice.choice([1, 2, 4]),
            since=float(dice.randrange(0, 2000, 10)),
            spot=dice.random() < 0.5,
            priority=dice.choice([0, 0, 5]),
            seconds=known,
        )
        cloud.seconds[gang.id] = float(dice.randrange(60, 600))
        jobs.append(gang)
    for _ in range(2500):
        cloud.waiting += [g for g in jobs if cloud.now < g.since <= cloud.now + 10]
        cloud.step()
        assert cloud.pools["spot"].desired <= 3
        assert cloud.pools["sure"].desired <= 4  # what 8 USD an hour pay for
        if cloud.now > 2500 and not cloud.waiting and not cloud.running:
            break
    assert set(cloud.starts) == {g.id for g in jobs if g.since > 0}


def test_a_large_gang_is_not_starved_by_a_stream_of_small_ones() -> None:
    cloud = Cloud.of([pool(most=4)])
    for number in range(400):
        cloud.seconds[f"n/small{number}/0"] = 200.0
    for number in range(300):
        if number % 6 == 0:
            cloud.waiting.append(Gang(f"n/small{number}/0", 1, 4, cloud.now))
        if number == 50:
            cloud.waiting.append(Gang("n/large/0", 4, 4, cloud.now))
            cloud.seconds["n/large/0"] = 100.0
        cloud.step()
    # Nothing new starts before it; so it waits no longer than what ran when it came.
    assert 500 <= cloud.starts["n/large/0"] <= 500 + 200 + 60 + 30
    assert len(cloud.starts) > 40


def test_from_zero_and_back() -> None:
    cloud = Cloud.of([pool()], seconds={"n/a/0": 300.0})
    cloud.waiting = [Gang("n/a/0", 3, 4, 0.0)]
    sizes = []
    for _ in range(80):
        cloud.step()
        sizes.append((cloud.pools["a"].desired, cloud.size("a")))
    assert sizes[0] == (3, 0)
    assert max(sizes) == (3, 3)
    assert cloud.starts["n/a/0"] == pytest.approx(70, abs=11)
    # Ends at about 370, idle for 120, cordoned for 30.
    assert sizes[48] == (3, 3)
    assert sizes[-1] == (0, 0)


def test_spot_that_does_not_come_is_given_up_for_on_demand_and_tried_again_later() -> None:
    pools = [pool("spot", spot=True, price=1.0, fallback="sure"), pool("sure")]
    cloud = Cloud.of(pools, delivers=frozenset({"sure"}))
    cloud.waiting = [Gang("n/a/0", 2, 4, 0.0, pool="spot")]
    reasons = {}
    while not cloud.starts:
        plan = cloud.step()
        reasons[cloud.now] = plan.outcomes[0]
    assert reasons[10].pool == "spot"
    assert reasons[90].pool == "spot"
    assert reasons[100].pool == "sure"  # one and a half boot times after 10
    assert cloud.pools["spot"].desired == 0
    assert cloud.starts == {"n/a/0": 160}
    # A second gang, within the back-off, does not wait for spot again; later one does.
    cloud.waiting = [Gang("n/b/0", 1, 4, cloud.now, pool="spot")]
    assert cloud.step().outcomes[0].pool == "sure"
    while cloud.now < 400:
        cloud.step()
    cloud.waiting = [Gang("n/c/0", 1, 4, cloud.now, pool="spot")]
    cloud.delivers = None
    cloud.pools["sure"] = replace(cloud.pools["sure"], max_nodes=2)
    assert cloud.step().outcomes[0].pool == "spot"


def test_a_pool_that_never_delivers_is_asked_less_and_less() -> None:
    cloud = Cloud.of([pool("spot", spot=True), pool("sure")], delivers=frozenset())
    cloud.waiting = [Gang("n/a/0", 1, 4, 0.0, spot=True)]
    asked = []
    for _ in range(3000):
        for decision in cloud.step().decisions:
            if decision.after > decision.before:
                asked.append((decision.pool, cloud.now))
    gaps = [b - a for (_, a), (_, b) in pairwise(asked)]
    assert len(asked) < 60
    assert max(gaps) > 500


def test_a_request_stands_where_there_is_no_other_pool() -> None:
    cloud = Cloud.of([pool()], delivers=frozenset())
    cloud.waiting = [Gang("n/a/0", 2, 4, 0.0)]
    plans = [cloud.step() for _ in range(100)]
    assert cloud.pools["a"].desired == 2
    assert sum(len(p.changes) for p in plans) == 1
    assert plans[-1].outcomes[0].reason == "Late"
    assert "2 nodes of pool a have not come" in plans[-1].outcomes[0].message
    cloud.delivers = None
    cloud.step()
    assert cloud.starts


def test_a_preempted_node_is_waited_for_anew() -> None:
    """Its request is old, but it is missing only since now."""
    cloud = Cloud.of([pool("spot", spot=True, fallback="sure"), pool("sure")])
    cloud.waiting = [Gang("n/a/0", 2, 4, 0.0, pool="spot")]
    while not cloud.starts:
        cloud.step()
    for _ in range(50):
        cloud.step()
    spot = cloud.pools["spot"]
    left = replace(spot.nodes[0], pods=0, gpus_used=0, empty_since=cloud.now)
    cloud.pools["spot"] = replace(spot, nodes=(left,))
    cloud.running.clear()
    cloud.asked["spot"] = [cloud.now]
    cloud.waiting = [Gang("n/a/0", 2, 4, cloud.now, pool="spot")]
    plan = cloud.step()
    assert (plan.outcomes[0].state, plan.outcomes[0].pool) == ("scaling", "spot")
    assert plan.changes == ()
