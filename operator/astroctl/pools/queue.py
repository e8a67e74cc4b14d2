"""Gangs that wait, in the order in which they are served, by kind."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush

from astroctl.pools.model import Gang

Kind = tuple[object, ...]
Order = tuple[int, bool, float, str]


def kind(gang: Gang) -> Kind:
    """Gangs of one kind differ only in how many pods they have and when it is their turn."""
    return (
        gang.pool,
        gang.gpus,
        gang.cpu,
        gang.memory,
        gang.accelerator,
        gang.spot,
        gang.home,
        gang.admits,
    )


def order(gang: Gang) -> Order:
    """Priority, then whoever has pods that run and wait for the rest, then age."""
    return (-gang.priority, gang.home is None, gang.since, gang.id)


class Queue:
    """Gangs by kind, each kind in order.

    When nothing is left that one kind could use, the rest of that kind need not be looked at:
    that is what keeps a plan cheap while thousands wait.
    """

    def __init__(self, gangs: Iterable[Gang] = ()) -> None:
        self.kinds: dict[Kind, list[tuple[Order, Gang]]] = {}
        for gang in gangs:
            self.kinds.setdefault(kind(gang), []).append((order(gang), gang))
        for line in self.kinds.values():
            line.sort(key=_first)

    def __len__(self) -> int:
        return sum(map(len, self.kinds.values()))

    def add(self, gang: Gang) -> None:
        """Let a gang join."""
        insort(self.kinds.setdefault(kind(gang), []), (order(gang), gang), key=_first)

    def remove(self, gang: Gang) -> None:
        """Let a gang leave."""
        line = self.kinds[kind(gang)]
        del line[bisect_left(line, order(gang), key=_first)]
        if not line:
            del self.kinds[kind(gang)]

    def walk(self, done: set[Kind]) -> Iterator[tuple[Kind, Gang]]:
        """Gangs in order; kinds that the caller puts into ``done`` are left from then on."""
        heads = [(line[0][0], which, 0) for which, line in enumerate(self.kinds.values())]
        lines = list(self.kinds.items())
        heapify(heads)
        while heads:
            _, which, place = heappop(heads)
            name, line = lines[which]
            yield name, line[place][1]
            if name not in done and place + 1 < len(line):
                heappush(heads, (line[place + 1][0], which, place + 1))


def _first(entry: tuple[Order, Gang]) -> Order:
    return entry[0]
