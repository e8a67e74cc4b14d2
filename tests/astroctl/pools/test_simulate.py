"""The simulator: exact accounts of small cases, and the same decisions as the operator's."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from astroctl.pools.model import Decision, History, NodeState, PoolState
from astroctl.pools.policy import decide
from astroctl.pools.report import figures, percentile, report, text
from astroctl.pools.simulate import Assumptions, Result, Simulation, Way, simulate
from astroctl.pools.simulated import Pool
from astroctl.pools.trace import Job, generate

ONE = PoolState("a", 4, 8, price=10.0, idle_seconds=600.0, boot_seconds=600.0)


def run(jobs: list[Job], *pools: PoolState, way: Way = "gangs", **assumed: Any) -> Result:
    return simulate(jobs, pools, [way], Assumptions(**assumed))[0]


def test_one_job_to_the_second() -> None:
    result = run([Job("a", 5, 16, 1000)], ONE)
    # Asked for at 10, ready at 610, free at 1610, cordoned at 2210, gone at 2240.
    assert result.waits == [605]
    assert result.ended == 1610
    assert result.paid == 16 * (2240 - 10)
    assert result.used == result.useful == 16 * 1000
    assert result.money == pytest.approx(2 * 10 * 2230 / 3600)
    assert (result.ups, result.downs, result.nodes_added, result.peak_nodes) == (1, 1, 2, 2)


def test_a_second_job_uses_what_is_idle() -> None:
    result = run([Job("a", 5, 16, 1000), Job("b", 1800, 16, 100)], ONE)
    assert result.waits == [0, 605]
    assert result.ups == 1


def test_a_fixed_pool_costs_its_maximum_until_the_last_job_ends() -> None:
    result = run([Job("a", 5, 16, 1000)], ONE, way="fixed")
    assert result.waits == [5]
    assert result.paid == 32 * 1010
    assert (result.ups, result.downs) == (1, 0)


def test_the_minimum_is_paid_and_used_at_once() -> None:
    result = run([Job("a", 5, 8, 1000)], replace(ONE, min_nodes=1))
    assert result.waits == [5]
    assert result.nodes_added == 1


def test_jobs_that_never_fit_are_told_and_left_out() -> None:
    result = run([Job("big", 0, 64, 10), Job("ok", 0, 8, 10)], ONE)
    assert (result.finished, list(result.rejected)) == (1, ["big"])
    assert "its maximum is 4" in result.rejected["big"]


def test_pod_at_a_time_holds_half_jobs_and_blocks() -> None:
    """Both need three of four nodes; the later one has priority, the first one has two."""
    jobs = [
        Job("running", 0, 16, 3000, pods=2),
        Job("half", 100, 24, 600, pods=3),
        Job("first", 1000, 24, 600, pods=3, priority=1),
    ]
    pods = run(jobs, ONE, way="pods", patience=7200.0)
    gangs = run(jobs, ONE)
    assert pods.finished == gangs.finished == 3
    assert pods.stranded > 16 * 2000
    assert gangs.stranded == 0
    assert gangs.waits[-1] < pods.waits[-1]


def test_a_deadlock_is_broken_after_a_while() -> None:
    jobs = [
        Job("r1", 0, 8, 2000, pods=1),
        Job("r2", 0, 8, 2500, pods=1),
        Job("low", 100, 24, 600, pods=3),
        Job("high", 2300, 24, 600, pods=3, priority=1),
    ]
    result = run(jobs, ONE, way="pods", patience=1800.0)
    assert result.finished == 4
    assert result.gave_up == 1
    assert run(jobs, ONE, way="gangs").gave_up == 0


def test_interruptions_of_the_trace() -> None:
    spot = replace(ONE, spot=True)
    result = run([Job("a", 5, 8, 2000, spot=True, preemptions=1)], spot, checkpoint_seconds=600.0)
    # Runs 610 to 1610; 600 seconds are kept; the new node is there at 2210; 1400 are left.
    assert result.preemptions == 1
    assert result.ended == 2210 + 1400
    assert result.used - result.useful == 8 * 400
    assert run([Job("a", 5, 8, 2000, preemptions=1)], ONE).preemptions == 0


def test_nodes_taken_at_random_depend_on_the_seed_alone() -> None:
    spot = replace(ONE, spot=True)
    jobs = [Job(f"j{i}", i * 500, 8, 3000, spot=True) for i in range(20)]
    first = run(jobs, spot, preemptions_per_hour=0.5, seed=1)
    assert first.preemptions > 0
    assert first.finished == 20
    assert run(jobs, spot, preemptions_per_hour=0.5, seed=1) == first
    assert run(jobs, spot, preemptions_per_hour=0.5, seed=2) != first


def test_it_ends_where_nodes_are_taken_all_the_time() -> None:
    """Replacements are always under way; the pool shrinks to nothing all the same."""
    spot = replace(ONE, spot=True, max_nodes=40)
    jobs = [Job(f"j{i:02d}", 0, 8, 1800, spot=True) for i in range(40)]
    result = run(jobs, spot, preemptions_per_hour=1.0)
    assert result.finished == 40
    assert result.plans < 2000


def test_limits_hold() -> None:
    jobs = generate(200, seed=2, days=0.3, sizes={1: 1, 8: 1, 16: 1})
    state = replace(ONE, max_nodes=9, budget_per_hour=65.0, max_step=3)
    for way in ("gangs", "pods", "fixed"):
        result = run(jobs, state, way=way)  # type: ignore[arg-type]
        assert result.peak_nodes <= 6
        assert result.finished == 200
        assert result.useful == pytest.approx(sum(j.gpus * j.duration for j in jobs))


class Watched(Simulation):
    """Asks the operator's own function the same question at every look."""

    looks = 0
    grown = 0

    def _look(self, now: float) -> None:
        facts = [facts_of(pool, now) for pool in self.pools.values()]
        past = {n: p.history for n, p in self.pools.items() if p.history is not None}
        gangs = [gang for line in self.queue.kinds.values() for _, gang in line]
        plan = decide(gangs, facts, now, History(past))
        placed = {o.gang for o in plan.outcomes if o.state == "placed"}
        super()._look(now)
        waiting = {gang.id for line in self.queue.kinds.values() for _, gang in line}
        assert {g.id for g in gangs} - waiting == placed
        for decision in plan.decisions:
            self.compare(decision)
        self.looks += 1

    def compare(self, decision: Decision) -> None:
        pool = self.pools[decision.pool]
        assert pool.state.desired == decision.after
        self.grown += decision.after > decision.before
        cordoned = {str(n.number) for n in every(pool) if n.cordoned_since is not None}
        assert set(decision.cordon) <= cordoned


def every(pool: Pool) -> Any:
    return (node for line in pool.nodes.values() for node in line.values())


def facts_of(pool: Pool, now: float) -> PoolState:
    nodes = tuple(
        NodeState(
            name=str(node.number),
            ready=True,
            created=node.joined,
            gpus=pool.state.gpus_per_node,
            gpus_used=pool.state.gpus_per_node - node.shape.gpus,
            pods=node.pods,
            empty_since=None if node.pods else node.empty_since,
            cordoned_since=node.cordoned_since,
        )
        for node in every(pool)
    )
    return replace(pool.state, nodes=nodes)


@pytest.mark.parametrize("load", [0.4, 3.0])
def test_the_simulator_decides_as_the_operator_does(load: float) -> None:
    jobs = generate(120, seed=4, days=1 / load, sizes={1: 2, 2: 1, 4: 1, 8: 1, 16: 1})
    pools = [
        replace(ONE, name="spot", spot=True, price=5.0, max_nodes=3),
        replace(ONE, name="sure", max_nodes=4, max_step=2),
    ]
    watched = Watched(jobs, pools, "gangs", Assumptions(preemptions_per_hour=0.05, estimates=None))
    result = watched.run()
    assert result.finished == 120
    assert watched.looks == result.plans > 100
    assert watched.grown > 5


def test_whole_gangs_cost_no_more_and_wait_no_longer() -> None:
    jobs = generate(400, seed=1, days=2, sizes={1: 4, 4: 2, 8: 2, 16: 1, 32: 1})
    pools = [replace(ONE, max_nodes=8)]
    gangs, pods, fixed = simulate(jobs, pools, ("gangs", "pods", "fixed"))
    assert gangs.useful == pods.useful == fixed.useful
    assert gangs.paid < pods.paid < fixed.paid
    assert sum(gangs.waits) < sum(pods.waits)
    assert gangs.stranded == 0 < pods.stranded


def test_report() -> None:
    results = simulate(
        [Job("big", 0, 64, 10), Job("ok", 0, 8, 3600)], [ONE], ("gangs", "pods", "fixed")
    )
    data = report(results, Assumptions())
    first = figures(results[0])
    assert data["results"][0] == first
    assert (first["finished"], first["neverFit"], first["unfinished"]) == (1, 1, 0)
    assert first["gpuHoursUsed"] == 8
    assert first["waitSeconds"] == {"p50": 600.0, "p90": 600.0, "p99": 600.0, "max": 600.0}
    shown = text(data)
    assert "whole gangs (this policy)" in shown
    assert "never fits: big: pool a: 8 pods of 8 GPUs need 8 nodes" in shown
    unpriced = report(simulate([Job("ok", 0, 8, 60)], [replace(ONE, price=None)]), Assumptions())
    assert unpriced["results"][0]["costUSD"] is None
    assert "cost" not in text(unpriced)


def test_percentiles_are_of_the_nearest_rank() -> None:
    values = [float(v) for v in range(1, 101)]
    assert [percentile(values, s) for s in (0.5, 0.9, 0.99, 1.0)] == [50, 90, 99, 100]
    assert percentile([7.0], 0.5) == 7
    assert percentile([], 0.5) is None


def test_speed() -> None:
    """Five thousand jobs, half a thousand nodes: a second or two on an idle machine."""
    jobs = generate(5000, seed=1, days=1)
    pools = [replace(ONE, name="spot", spot=True, max_nodes=250), replace(ONE, max_nodes=250)]
    began = time.process_time()
    result = run(jobs, *pools)
    assert result.finished == 5000
    assert time.process_time() - began < 15
