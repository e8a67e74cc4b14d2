"""What nodes have free, counted by kind: a thousand nodes are a handful of shapes."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from typing import NamedTuple

MAX_PODS = 110
"""Pods on a node at most, the kubelet's default; it bounds pods that ask for nothing."""


class Shape(NamedTuple):
    """What a node has free. The natural order is the order of filling: in use first, tight first,
    so that empty nodes stay empty and whole nodes stay whole."""

    empty: bool
    gpus: int
    cpus: float
    memory: float


class Want(NamedTuple):
    """What one pod asks for."""

    gpus: int
    cpu: float
    memory: float


class Take(NamedTuple):
    """Pods put on nodes of one shape."""

    shape: Shape
    nodes: int
    pods: int
    """On each of them."""


def slots(shape: Shape, want: Want) -> int:
    """How many such pods fit on a node of this shape."""
    _, gpus, cpus, memory = shape
    count = gpus // want.gpus if want.gpus else MAX_PODS
    if count and want.cpu and cpus < count * want.cpu:
        count = math.floor(cpus / want.cpu + 1e-9)
    if count and want.memory and memory < count * want.memory:
        count = int(memory // want.memory)
    return count


def filled(shape: Shape, want: Want, pods: int) -> Shape:
    """What is left of a node when so many pods are on it."""
    return Shape(
        False,
        shape.gpus - pods * want.gpus,
        shape.cpus - pods * want.cpu,
        shape.memory - pods * want.memory,
    )


class Stock:
    """How many nodes of each shape there are, kept in the order of filling.

    Args:
        counts: Nodes by shape.
    """

    __slots__ = ("counts", "order")

    def __init__(self, counts: Mapping[Shape, int] | None = None) -> None:
        self.counts = {shape: nodes for shape, nodes in (counts or {}).items() if nodes}
        self.order = sorted(self.counts)

    def __bool__(self) -> bool:
        return bool(self.counts)

    def copy(self) -> Stock:
        """Another of the same content."""
        other = Stock()
        other.counts = dict(self.counts)
        other.order = list(self.order)
        return other

    @property
    def gpus(self) -> int:
        """All GPUs that are free."""
        return sum(shape.gpus * nodes for shape, nodes in self.counts.items())

    def add(self, shape: Shape, nodes: int) -> None:
        """More nodes of a shape; fewer if negative."""
        had = self.counts.get(shape, 0)
        if had + nodes:
            self.counts[shape] = had + nodes
            if not had:
                insort(self.order, shape)
        elif had:
            del self.counts[shape]
            del self.order[bisect_left(self.order, shape)]

    def fitting(self, want: Want) -> Iterator[tuple[Shape, int]]:
        """Shapes that hold such a pod, tightest first, each with how many of them."""
        order = self.order
        for empty in (False, True):
            for place in range(bisect_left(order, (empty, want.gpus)), len(order)):
                shape = order[place]
                if shape.empty != empty:
                    break
                if each := slots(shape, want):
                    yield shape, each

    def capacity(self, want: Want, enough: int) -> int:
        """How many such pods the nodes hold; counting ends at ``enough``."""
        total = 0
        for shape, each in self.fitting(want) if self.order else ():
            total += self.counts[shape] * each
            if total >= enough:
                return enough
        return total

    def plan(self, want: Want, pods: int) -> list[Take]:
        """Where up to ``pods`` pods would go."""
        taken: list[Take] = []
        for shape, each in self.fitting(want):
            whole = min(self.counts[shape], pods // each)
            if whole:
                taken.append(Take(shape, whole, each))
                pods -= whole * each
            if pods and whole < self.counts[shape]:
                taken.append(Take(shape, 1, pods))
                pods = 0
            if not pods:
                break
        return taken

    def take(self, want: Want, pods: int) -> int:
        """Put up to ``pods`` pods on the nodes; returns how many found no place."""
        for part in self.plan(want, pods) if pods and self.order else ():
            self.add(part.shape, -part.nodes)
            self.add(filled(part.shape, want, part.pods), part.nodes)
            pods -= part.nodes * part.pods
        return pods

    def set_aside(self, want: Want, pods: int) -> tuple[Stock, int]:
        """Take the nodes that up to ``pods`` pods would go to, whole, out of the stock.

        Returns:
            The nodes, and how many pods found no place.
        """
        aside = Stock()
        for part in self.plan(want, pods):
            self.add(part.shape, -part.nodes)
            aside.add(part.shape, part.nodes)
            pods -= part.nodes * part.pods
        return aside, pods
