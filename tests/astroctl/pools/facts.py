"""Arbitrary, but consistent, facts for property tests.

Drawing every field is slow; nodes, pools and gangs are drawn whole from a few hundred prototypes.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from astroctl.pools.model import Change, Gang, History, NodeState, PoolHistory, PoolState

NOW = 10_000.0
NAMES = ("pool-a", "pool-b", "pool-c")
_DICE = random.Random(7)


def _any(*values: Any) -> Any:
    return _DICE.choice(values)


def _node(gpus: int) -> NodeState:
    used = _DICE.randint(1, gpus) if _any(True, False) else 0
    pods = _DICE.randint(1, used) if used else 0
    return NodeState(
        name="",
        ready=_any(True, True, True, False),
        created=_any(0.0, NOW - 300, NOW - 10),
        gpus=gpus,
        gpus_used=used,
        pods=pods,
        empty_since=None if pods else _any(0.0, NOW - 700, NOW - 5),
        cordoned_since=_any(None, None, NOW - 100, NOW - 5),
        unschedulable=_any(False, False, False, True),
        deletable=_any(True, True, True, False),
        leaving=_any(False, False, False, True),
        until=_any(None, NOW - 5, NOW + 50, NOW + 5000),
    )


def _pool(gpus: int) -> PoolState:
    most = _DICE.randint(1, 10)
    return PoolState(
        name="",
        min_nodes=_any(0, 0, _DICE.randint(0, most)),
        max_nodes=most,
        gpus_per_node=gpus,
        accelerator=_any(None, "A100", "H100"),
        price=_any(None, 2.0, 5.0),
        spot=_any(True, False),
        fallback=_any(None, *NAMES),
        idle_seconds=_any(0.0, 600.0),
        boot_seconds=_any(60.0, 600.0),
        max_step=_any(None, 1, 3),
        budget_per_hour=_any(None, 4.0, 20.0),
        budget_per_job=_any(None, 10.0),
        paused=_any(False, False, False, False, True),
        unable=_any("", "", "", "", "the driver fails"),
        names_nodes=_any(True, True, False),
        change=_any(None, Change(0.0), Change(NOW - 100), Change(NOW - 100, failed="no capacity")),
    )


def _past() -> PoolHistory:
    return PoolHistory(
        desired=_DICE.randint(0, 8),
        missing=_DICE.randint(0, 4),
        joined=_DICE.randint(0, 8),
        missing_since=_any(None, 0.0, NOW - 100),
        scaled_up=_any(None, 0.0, NOW - 100),
        failures=_DICE.randint(0, 3),
        blocked_until=_any(None, NOW - 1, NOW + 100),
        counted=_any(True, False),
    )


def _gang() -> Gang:
    return Gang(
        id="",
        pods=_DICE.randint(1, 12),
        gpus=_any(1, 1, 2, 4, 8),
        since=_any(0.0, NOW - 1000, NOW - 10),
        pool=_any(None, None, *NAMES, "gone"),
        accelerator=_any(None, None, "h100"),
        spot=_any(True, False),
        priority=_any(0, 0, 1, 2),
        spent=_any(0.0, 0.0, 12.0),
        budget=_any(None, 11.0),
        home=_any(None, None, None, None, *NAMES),
        admits=_any(None, None, None, frozenset(NAMES[:1])),
        seconds=_any(None, 10.0, 1000.0),
    )


_NODES = {gpus: [_node(gpus) for _ in range(60)] for gpus in (1, 2, 4, 8)}
_POOLS = [_pool(_any(1, 2, 4, 8)) for _ in range(400)]
_PASTS = [None, *(_past() for _ in range(40))]
_GANGS = [_gang() for _ in range(400)]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Gang], list[PoolState], History]:
    """Gangs, pools, and what is remembered."""
    pools, past = [], {}
    for name, kind in zip(NAMES, draw(st.lists(st.sampled_from(_POOLS), max_size=3)), strict=False):
        drawn = draw(st.lists(st.sampled_from(_NODES[kind.gpus_per_node]), max_size=6))
        nodes = tuple(replace(node, name=f"{name}-{i}") for i, node in enumerate(drawn))
        joined = sum(not node.leaving for node in nodes)
        desired = max(0, joined + draw(st.sampled_from([0, 0, 0, 1, 4, -2])))
        pools.append(replace(kind, name=name, nodes=nodes, desired=desired))
        if (kept := draw(st.sampled_from(_PASTS))) is not None:
            past[name] = kept
    drawn_gangs = draw(st.lists(st.sampled_from(_GANGS), max_size=8))
    gangs = [replace(gang, id=f"ns/job-{i}/0") for i, gang in enumerate(drawn_gangs)]
    placed = {g.id: NOW - 100.0 for g in gangs[::2]} if draw(st.booleans()) else {}
    return gangs, pools, History(past, placed)
