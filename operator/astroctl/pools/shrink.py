"""Which nodes may go: empty and idle for long enough, cordoned first, removed later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from astroctl.pools.ledger import Ledger
from astroctl.pools.shapes import Shape

CORDON_SECONDS = 30.0
"""From cordon to removal: whatever was being bound to the node meanwhile shows by then."""


class Empty(NamedTuple):
    """A node without work."""

    name: str
    since: float
    shape: Shape | None
    """What it offers; None: nothing, it is dead."""
    cordoned_since: float | None = None
    deletable: bool = True


class Shrink(NamedTuple):
    """What becomes of a pool's empty nodes."""

    after: int
    """The pool's size."""
    cordon: tuple[str, ...] = ()
    uncordon: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    withdrawn: int = 0
    """Late nodes that nobody waits for any more."""
    held: str = ""
    """Why idle nodes stay."""


def shrink(ledger: Ledger, empties: Sequence[Empty], busy: int, now: float) -> Shrink:
    """Decide after everybody was served.

    Args:
        ledger: The pool's books; empty nodes given away or claimed are gone from `free`.
        empties: Its nodes without work that are not leaving; those that became empty last are
            kept first, so that the others can go.
        busy: Nodes with work.
        now: The time.
    """
    if ledger.fixed:
        return Shrink(ledger.pool.desired)
    late = ledger.late.counts.get(ledger.fresh, 0)
    withdrawn = min(late, max(0, ledger.size - ledger.pool.min_nodes))
    size = ledger.size - withdrawn
    needed, surplus = _split(ledger, empties)
    uncordon = [e.name for e in needed if e.cordoned_since is not None]
    allowed = max(0, min(size, ledger.delivery.history.joined) - ledger.pool.min_nodes)
    going = _going(ledger, surplus, size, now)[:allowed]
    held = why_held(ledger, now)
    if not ledger.pool.names_nodes and not held:
        return _all_or_none(ledger, empties, going, size, withdrawn, busy or len(needed), now)
    leave = {e.name for e in going}
    uncordon += [e.name for e in surplus if e.cordoned_since is not None and e.name not in leave]
    if held:
        return Shrink(size, uncordon=tuple(uncordon), withdrawn=withdrawn, held=held)
    cordon = tuple(e.name for e in going if e.cordoned_since is None)
    remove = tuple(e.name for e in going if _rested(e, now))
    return Shrink(size - len(remove), cordon, tuple(uncordon), remove, withdrawn)


def why_held(ledger: Ledger, now: float) -> str:
    """Why no node may go now, whoever is idle; empty if some may."""
    pool, scaled_up = ledger.pool, ledger.delivery.history.scaled_up
    if ledger.delivery.history.joined > pool.desired:
        return "nodes are leaving"
    if ledger.added or ledger.awaited:
        return "nodes are coming that somebody waits for"
    if scaled_up is not None and now < scaled_up + pool.idle_seconds:
        return "it has just grown"
    return ""


def _split(ledger: Ledger, empties: Sequence[Empty]) -> tuple[list[Empty], list[Empty]]:
    """The empty nodes that the plan gave away, and the others."""
    spare = {shape: nodes for shape, nodes in ledger.free.counts.items() if shape.empty}
    needed: list[Empty] = []
    surplus: list[Empty] = []
    # Spared first are cordoned ones, then those idle for longest.
    for empty in sorted(empties, key=_first_to_go):
        if empty.shape is None:
            surplus.append(empty)
        elif spare.get(empty.shape, 0):
            spare[empty.shape] -= 1
            surplus.append(empty)
        else:
            needed.append(empty)
    return needed, surplus


def _first_to_go(empty: Empty) -> tuple[float, bool, float, str]:
    cordoned = empty.cordoned_since
    since = float("inf") if cordoned is None else cordoned
    return (since, empty.shape is not None, empty.since, empty.name)


def _going(ledger: Ledger, surplus: Sequence[Empty], size: int, now: float) -> list[Empty]:
    """Those that nobody needs and whose time is over; above the maximum it is over at once."""
    above = max(0, size - ledger.pool.max_nodes)
    deletable = [e for e in surplus if e.deletable]
    idle = [
        e
        for place, e in enumerate(deletable)
        if place < above or now >= e.since + ledger.pool.idle_seconds
    ]
    return sorted(idle, key=_first_to_go)


def _rested(empty: Empty, now: float) -> bool:
    return empty.cordoned_since is not None and now >= empty.cordoned_since + CORDON_SECONDS


def _all_or_none(
    ledger: Ledger,
    empties: Sequence[Empty],
    going: Sequence[Empty],
    size: int,
    withdrawn: int,
    used: int,
    now: float,
) -> Shrink:
    """The mechanism chooses which nodes go: only a pool without work may shrink, all cordoned."""
    if not going or used or not all(e.deletable for e in empties):
        cordoned = tuple(e.name for e in empties if e.cordoned_since is not None)
        held = "its mechanism chooses which nodes go, and some have work" if going else ""
        return Shrink(size, uncordon=cordoned, withdrawn=withdrawn, held=held)
    cordon = tuple(e.name for e in empties if e.cordoned_since is None)
    gone = len(going) if all(_rested(e, now) for e in empties) else 0
    return Shrink(size - gone, cordon, withdrawn=withdrawn)
