"""Bytes that a worker exchanges with the others in an optimizer step, and how long that takes.

A collective over N workers moves ``(N - 1) / N`` of its tensor through each worker (gather,
reduce-scatter), an all-reduce twice as much. By stage, with P bytes of parameters, G of gradients
as they are sent, and m micro-batches a step:

* 0: gradients are all-reduced once, 2 G;
* 1: the same, and the new parameters are gathered, P;
* 2: gradients are all-reduced each micro-batch, 2 m G (DeepSpeed's buckets hold gradients of
  several owners), and the new parameters are gathered, P;
* 3: parameters are gathered for the forward and for the backward pass of each micro-batch, except
  for the last of them, which are still there (as many as DeepSpeed keeps live, a share k), and
  gradients reduced: m ((2 - k) P + G). With hierarchical partitioning the gather for the backward
  pass stays among neighbours (ZeRO++, Wang et al. 2023).

Between machines a collective is as fast as the machines' network cards together, since each machine
needs every byte once and hands it on inside; inside, as the links there.
"""

from __future__ import annotations

from dataclasses import dataclass

from astrosage.plan.setup import Setup

# Shares of the line rates that collectives of large tensors are assumed to reach.
EFFICIENCY = 0.8
# Assumed time of one hop of a ring between machines; each layer's collectives take workers - 1.
HOP_SECONDS = 5e-6


@dataclass(frozen=True)
class Fabric:
    """How workers reach one another.

    Attributes:
        per_node: Workers of a machine.
        link: Bytes/s between two workers of a machine, one direction.
        network: Bytes/s of each worker to other machines, one direction.
    """

    per_node: int
    link: float
    network: float

    def seconds(self, size: float, workers: int) -> float:
        """Time to gather or reduce-scatter a tensor over so many workers.

        Args:
            size: Bytes of the whole tensor.
            workers: Neighbours fill machines.
        """
        if workers <= 1:
            return 0.0
        inside = min(workers, self.per_node)
        nodes = -(-workers // self.per_node)
        times = [size * (inside - 1) / inside / self.link]
        if nodes > 1:
            times.append(size * (nodes - 1) / nodes / (inside * self.network))
        return max(times) / EFFICIENCY


@dataclass(frozen=True)
class Volume:
    """Bytes of the tensors that an optimizer step's collectives handle.

    Attributes:
        gradients: Reduce-scattered; an all-reduce counts twice.
        wide: Parameters gathered over all workers.
        near: Parameters gathered inside a hierarchical group.
    """

    gradients: float
    wide: float
    near: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.gradients + self.wide + self.near


def volume(setup: Setup) -> Volume:
    """What a step's collectives handle; nothing with one worker."""
    if setup.workers == 1:
        return Volume(0.0, 0.0, 0.0)
    gradients = float(setup.communication_bytes * setup.trained)
    whole = float(setup.bytes_each * setup.parameters)
    updated = float(setup.bytes_each * setup.trained)
    micro = setup.accumulation
    if setup.stage < 2:
        return Volume(2 * gradients, updated if setup.stage else 0.0, 0.0)
    if setup.stage == 2:
        return Volume(2 * micro * gradients, updated, 0.0)
    again = micro * whole * (1 - _still_there(setup))
    if setup.near:
        return Volume(micro * gradients, micro * whole, again)
    return Volume(micro * gradients, micro * whole + again, 0.0)


def _still_there(setup: Setup) -> float:
    """Share of the parameters that the forward pass leaves gathered for the backward pass."""
    kept = min(
        setup.zero_option("stage3_max_live_parameters"),
        setup.zero_option("stage3_max_reuse_distance"),
    )
    return min(1.0, kept / setup.parameters)


def handed_over(setup: Setup) -> float:
    """Bytes given to collectives in a step, as a counter around them sees it."""
    return volume(setup).total


def per_worker(setup: Setup) -> float:
    """Bytes that each worker sends in a step, and receives."""
    found, workers = volume(setup), setup.workers
    near = setup.near or workers
    wide_share, near_share = 1 - 1 / workers, 1 - 1 / near
    return (found.gradients + found.wide) * wide_share + found.near * near_share


def seconds(setup: Setup, fabric: Fabric) -> float:
    """Time that a step's collectives take when nothing else is done."""
    found, workers = volume(setup), setup.workers
    near = setup.near or workers
    moving = fabric.seconds(found.gradients + found.wide, workers)
    moving += fabric.seconds(found.near, near)
    return moving + _hops(setup, fabric)


def _hops(setup: Setup, fabric: Fabric) -> float:
    """Latency: under ZeRO-3 each layer has collectives of its own, twice or three times a pass."""
    if setup.workers <= fabric.per_node:
        return 0.0
    rounds = 1.0
    if setup.stage == 3:
        wide = 2 if setup.near else 3
        rounds = float(wide * setup.shape.layers * setup.accumulation)
    return rounds * (setup.workers - 1) * HOP_SECONDS
