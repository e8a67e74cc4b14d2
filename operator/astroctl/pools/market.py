"""Which pools may serve a gang, in which order, and why the others may not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from astroctl.pools import words
from astroctl.pools.ledger import Ledger
from astroctl.pools.model import Gang, PoolState
from astroctl.pools.queue import Kind
from astroctl.pools.shapes import Want, slots


class Option(NamedTuple):
    """A pool that can serve a gang, if not now then later."""

    ledger: Ledger
    want: Want


class Market:
    """The ledgers of all pools during one plan."""

    def __init__(self, ledgers: Iterable[Ledger]) -> None:
        self.ledgers = {ledger.pool.name: ledger for ledger in ledgers}
        self._options: dict[tuple[Kind, int], tuple[Option, ...]] = {}

    def options(self, kind: Kind, gang: Gang) -> tuple[Option, ...]:
        """The pools to try, best first; empty if none can ever serve the gang."""
        key = (kind, gang.pods)
        found = self._options.get(key)
        if found is None:
            usable = [o for o in self._candidates(gang) if refusal(gang, o) is None]
            if gang.pool is None and gang.home is None:
                usable.sort(key=lambda o: _cost(gang, o))
            found = self._options[key] = tuple(usable)
        return found

    def refusals(self, gang: Gang) -> tuple[str, str]:
        """Reason and message for a gang that no pool can ever serve."""
        named = gang.home or gang.pool
        if named is not None and named not in self.ledgers:
            return words.no_pool(named, self.ledgers)
        if not self.ledgers:
            return words.no_pools()
        found = [r for o in self._candidates(gang) if (r := refusal(gang, o)) is not None]
        return words.refused(found)

    def _candidates(self, gang: Gang) -> list[Option]:
        if gang.home is not None:
            names = [gang.home]
        elif gang.pool is not None:
            names = self._with_fallbacks(gang.pool)
        else:
            names = sorted(self.ledgers)
        found = (self.ledgers[n] for n in names if n in self.ledgers)
        return [Option(ledger, ledger.want(gang)) for ledger in found]

    def _with_fallbacks(self, name: str) -> list[str]:
        names: list[str] = []
        following: str | None = name
        while following is not None and following not in names and following in self.ledgers:
            names.append(following)
            following = self.ledgers[following].pool.fallback
        return names


def refusal(gang: Gang, option: Option) -> tuple[str, str] | None:
    """Why the pool can never serve the gang, as reason and message; None if it can."""
    ledger, want = option
    pool = ledger.pool
    if gang.admits is not None and pool.name not in gang.admits:
        return words.not_admitted(pool)
    if gang.home is None and pool.name != gang.pool and (told := _unlike(gang, pool)) is not None:
        return told
    each = slots(ledger.fresh, want)
    if not each:
        return words.pod_too_big(gang, pool, ledger.fresh)
    # What is there may exceed the limits of growth, and pods of the gang may hold part of it.
    most = max(ledger.most, ledger.size)
    if (nodes := -(-gang.pods // each)) > most:
        return words.gang_too_big(gang, pool, nodes, most)
    return None


def _unlike(gang: Gang, pool: PoolState) -> tuple[str, str] | None:
    wanted = gang.accelerator
    if wanted is not None and wanted.lower() != (pool.accelerator or "").lower():
        return words.other_accelerator(gang, pool)
    if gang.pool is None and pool.spot and not gang.spot:
        return words.spot_not_allowed(pool)
    return None


def _cost(gang: Gang, option: Option) -> tuple[bool, float, int, str]:
    """Spot first, then the cheapest for this gang, then the one it wastes the least of."""
    pool, fresh = option.ledger.pool, option.ledger.fresh
    nodes = -(-gang.pods // slots(fresh, option.want))
    money = float("inf") if pool.price is None else nodes * pool.price
    return (not pool.spot, money, nodes * pool.gpus_per_node, pool.name)
