"""Who gets which nodes: whole gangs, in order, nobody delayed by those behind."""

from __future__ import annotations

from typing import NamedTuple

from astroctl.pools.ledger import FREE, Ledger
from astroctl.pools.market import Market, Option
from astroctl.pools.model import Gang
from astroctl.pools.queue import Kind, Queue

BACKFILL_DEPTH = 50
"""After so many gangs that must wait, nothing is lent any more: looking further costs more than
it finds."""


class Turn(NamedTuple):
    """What came of one gang's turn."""

    gang: Gang
    ledger: Ledger | None
    """The pool that serves it, or that it waits for; None: no pool can ever serve it."""
    how: int | None
    """FREE, COMING, GROWTH or LATE; None: it waits."""
    new_nodes: int = 0
    cause: str = ""
    """Why it waits: the reason's word."""
    ahead: str = ""
    """Who waits for the same pool before it."""


class Served(NamedTuple):
    """What came of all."""

    turns: list[Turn]
    rest: dict[Kind, Turn]
    """Kinds of which nobody after this turn could get anything."""


def serve(queue: Queue, market: Market) -> Served:
    """Give every gang its turn; books are kept in the market's ledgers.

    A gang that does not fit waits, and claims what it counts on in the pool that will be able to
    serve it soonest. Whoever comes after it gets only what it does not count on: a small gang
    passes a big one only where that delays nobody (conservative backfill): on what that one does
    not count on, or, where durations are known, if it will be done in time.
    """
    turns: list[Turn] = []
    rest: dict[Kind, Turn] = {}
    done: set[Kind] = set()
    waiting: dict[str, str] = {}
    waited = 0
    for kind, gang in queue.walk(done):
        options = market.options(kind, gang)
        turn = _serve_one(gang, options, waiting)
        turns.append(turn)
        waited += turn.how is None and bool(options)
        if waited == BACKFILL_DEPTH:
            for ledger in market.ledgers.values():
                ledger.loans.clear()
        if turn.how is None and options and all(o.ledger.exhausted(o.want) for o in options):
            done.add(kind)
            rest[kind] = turn
    return Served(turns, rest)


def _serve_one(gang: Gang, options: tuple[Option, ...], waiting: dict[str, str]) -> Turn:
    best: tuple[int, int, Option] | None = None
    for option in options:
        fit = option.ledger.fit(option.want, gang.pods, gang.seconds)
        if fit is None or (fit[0] != FREE and spent(gang, option.ledger)):
            continue
        if best is None or fit[0] < best[0]:
            best = (*fit, option)
            if not fit[0]:
                break
    if best is not None:
        how, new_nodes, (ledger, want) = best
        ledger.book(want, gang.pods, new_nodes, gang.seconds)
        ledger.served.append(gang.id)
        return Turn(gang, ledger, how, new_nodes)
    if not options:
        return Turn(gang, None, None, cause="NoFit")
    if all(spent(gang, o.ledger) for o in options):
        return Turn(gang, options[0].ledger, None, cause="JobBudgetSpent")
    return _wait(gang, options, waiting)


def _wait(gang: Gang, options: tuple[Option, ...], waiting: dict[str, str]) -> Turn:
    open_to = [o for o in options if not spent(gang, o.ledger)]
    ledger, want = open_to[0]
    if len(open_to) > 1:
        ledger, want = min(open_to, key=lambda o: o.ledger.missing(o.want, gang.pods))
    ahead = waiting.setdefault(ledger.pool.name, gang.id)
    if ahead != gang.id:
        turn = Turn(gang, ledger, None, cause="Behind", ahead=ahead)
    else:
        turn = Turn(gang, ledger, None, cause=ledger.obstacle(want, gang.pods))
    ledger.claim(want, gang.pods)
    return turn


def spent(gang: Gang, ledger: Ledger) -> bool:
    """Whether the gang's job has cost what it may: it gets no node that was not there anyway."""
    limits = (gang.budget, ledger.pool.budget_per_job)
    return any(limit is not None and gang.spent >= limit for limit in limits)
