"""The pool policy and its simulator: how fast, and what whole gangs are worth.

    python benchmarks/kubernetes/pools.py [--jobs 100000] [--nodes 10000]

- plan: seconds of one plan for 10,000 pending pods and 1,000 nodes, the best of five; where nodes
  differ in free GPUs alone, where no two nodes are alike, and where all pods differ too;
- simulate: seconds for the large trace in three ways of scaling;
- compare: a small cluster under load, where scaling matters; see ``astroctl pools simulate``.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "operator")]

from astroctl.pools.model import Gang, NodeState, PoolState  # noqa: E402
from astroctl.pools.policy import decide  # noqa: E402
from astroctl.pools.report import figures  # noqa: E402
from astroctl.pools.simulate import Assumptions, Simulation, Way  # noqa: E402
from astroctl.pools.trace import generate  # noqa: E402

WAYS: tuple[Way, ...] = ("gangs", "pods", "fixed")
_GIB = 2**30


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--nodes", type=int, default=10_000)
    options = parser.parse_args()
    found = {
        "planSeconds": {
            "alike": planning(nodes_differ=False, pods_differ=False),
            "nodesDiffer": planning(nodes_differ=True, pods_differ=False),
            "allDiffer": planning(nodes_differ=True, pods_differ=True),
        },
        "simulate": {way: large(options.jobs, options.nodes, way) for way in WAYS},
        "compare": {way: small(way) for way in WAYS},
    }
    print(json.dumps(found, indent=2))
    return 0


def planning(*, nodes_differ: bool, pods_differ: bool) -> float:
    """Seconds to plan for 10,000 pods in gangs of one to four."""
    dice = random.Random(1)
    nodes = []
    for number in range(1000):
        used = dice.choice([0, 0, 2, 4, 8])
        extra = dice.random() * nodes_differ
        nodes.append(
            NodeState(
                f"n{number}",
                ready=True,
                created=0.0,
                gpus=8,
                gpus_used=used,
                cpus=96.0,
                cpu_used=4.0 * used + extra,
                memory=1024 * _GIB,
                memory_used=used * 64 * _GIB + int(extra * _GIB),
                pods=used,
                empty_since=None if used else 0.0,
            )
        )
    gangs, pods = [], 10_000
    while pods:
        count = min(pods, dice.choice([1, 1, 2, 4]))
        pods -= count
        memory = 32 * _GIB + len(gangs) * pods_differ
        gpus = dice.choice([1, 2, 4, 8])
        gangs.append(Gang(f"g{len(gangs)}", count, gpus, float(len(gangs)), 4.0, memory))
    pools = [PoolState(f"p{i}", 1500, 8, price=10.0 + i, desired=250, nodes=tuple(nodes[i::4]))
             for i in range(4)]  # fmt: skip
    return round(min(_timed(gangs, pools) for _ in range(5)), 3)


def _timed(gangs: list[Gang], pools: list[PoolState]) -> float:
    began = time.perf_counter()
    plan = decide(gangs, pools, 100.0)
    seconds = time.perf_counter() - began
    assert len(plan.outcomes) == len(gangs)
    assert plan.changes
    return seconds


def two_pools(nodes: int) -> list[PoolState]:
    spot = nodes // 2
    return [
        PoolState("spot", spot, 8, price=20.0, spot=True, fallback="sure"),
        PoolState("sure", nodes - spot, 8, price=60.0),
    ]


def large(jobs: int, nodes: int, way: Way) -> dict[str, Any]:
    """So many jobs within a day, nodes that are taken away."""
    trace = generate(jobs, seed=1, days=1)
    began = time.perf_counter()
    assumed = Assumptions(preemptions_per_hour=0.02)
    result = Simulation(trace, two_pools(nodes), way, assumed).run()
    seconds = time.perf_counter() - began
    assert result.finished == jobs
    return {"seconds": round(seconds, 1), "plans": result.plans, "peakNodes": result.peak_nodes}


def small(way: Way) -> dict[str, Any]:
    """2,000 jobs within five days on 40 nodes."""
    trace = generate(2000, seed=1, days=5)
    assumed = Assumptions(preemptions_per_hour=0.02, seed=1)
    shown = figures(Simulation(trace, two_pools(40), way, assumed).run())
    kept = ("gpuHoursPaid", "gpuHoursStranded", "utilisation", "costUSD", "waitSeconds", "scaleUps")
    return {name: shown[name] for name in kept}


if __name__ == "__main__":
    sys.exit(main())
