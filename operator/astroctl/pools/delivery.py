"""Whether a pool delivers what was asked of it: boot times, late nodes, back-off."""

from __future__ import annotations

from dataclasses import dataclass

from astroctl.pools.model import NodeState, PoolHistory, PoolState

MARGIN = 1.5
"""A request is late after its pool's boot time and half of it again."""
LONGEST_BACKOFF = 3600.0
"""Seconds until a pool that did not deliver is asked again, at most (or its boot time)."""


@dataclass(frozen=True, slots=True)
class Count:
    """A pool's nodes, counted."""

    joined: int
    """That have joined and are not leaving."""
    booting: int = 0
    """Of those, not ready yet, but still in time."""
    dead: int = 0
    """Of those, not ready, and not in time."""
    newest: float | None = None
    """When the last one joined."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is known of nodes under way."""

    history: PoolHistory
    coming: int
    """Nodes to count on: missing or booting, in time."""
    booting: int
    """Of those, the ones that have joined."""
    late: int
    """Nodes missing for too long."""
    dead: int
    """Nodes that joined but did not become ready in time."""
    stuck: bool
    """The pool does not deliver: nodes are late, or most of them are dead."""
    expected: float | None
    """When what is coming should be ready."""
    why: str = ""
    """The provider's words, if it said that it cannot deliver."""

    @property
    def blocked(self) -> bool:
        """Nothing more is to be asked of the pool: it is stuck, or was and its back-off lasts."""
        return self.stuck or self.history.blocked_until is not None


def usable(node: NodeState, pool: PoolState) -> bool:
    """Ready, its GPUs known: they appear some time after the node itself has become ready."""
    return node.ready and (node.gpus > 0 or not pool.gpus_per_node)


def deadline(since: float, pool: PoolState) -> float:
    """When a request of that time is late."""
    return since + pool.boot_seconds * MARGIN


def backoff(pool: PoolState, failures: int) -> float:
    """Seconds until the next try after so many failures in a row: twice the boot time, doubling."""
    longest = max(LONGEST_BACKOFF, pool.boot_seconds)
    return float(min(longest, pool.boot_seconds * 2 ** min(failures, 10)))


def follow(pool: PoolState, count: Count, last: PoolHistory | None, now: float) -> Delivery:
    """Carry a pool's history on to ``now``.

    Patience is counted from the newest sign of life: a node that joined or what the driver saw.
    A larger request does not renew it, or a steady stream of requests would hide a dead pool.
    """
    last = last or PoolHistory()
    missing = max(0, pool.desired - count.joined)
    since = _missing_since(pool, count, last, missing, now)
    failed = pool.change.failed if pool.change and missing else ""
    late = since is not None and (bool(failed) or now >= deadline(since, pool))
    stuck = late or 2 * count.dead > count.joined
    failures, blocked = last.failures, last.blocked_until
    delivered = last.missing > 0 and not missing and count.joined > last.joined
    if delivered and not stuck:
        failures, blocked = 0, None
    if stuck and not last.counted:
        failures += 1
        blocked = now + backoff(pool, failures)
    coming = count.booting + (0 if late else missing)
    return Delivery(
        history=PoolHistory(
            desired=pool.desired,
            missing=missing,
            joined=count.joined,
            missing_since=since,
            scaled_up=now if _rose(pool, last) else last.scaled_up,
            failures=failures,
            blocked_until=blocked if blocked is not None and blocked > now else None,
            counted=stuck,
        ),
        coming=coming,
        booting=count.booting,
        late=missing if late else 0,
        dead=count.dead,
        stuck=stuck,
        expected=max(now, (since or now) + pool.boot_seconds) if coming else None,
        why=failed,
    )


def _rose(pool: PoolState, last: PoolHistory) -> bool:
    return last.desired is not None and pool.desired > last.desired


def _missing_since(
    pool: PoolState, count: Count, last: PoolHistory, missing: int, now: float
) -> float | None:
    if not missing:
        return None
    if last.desired is None or (not last.missing and _rose(pool, last)):
        since = min(now, pool.change.at) if pool.change else now
    elif not last.missing or last.missing_since is None:
        since = now
    else:
        since = last.missing_since
    # Others may go while one joins, so that their number says nothing.
    signs = (count.newest, pool.change.seen if pool.change else None)
    return max([since, *(min(now, sign) for sign in signs if sign is not None)])
