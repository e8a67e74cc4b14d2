"""How fast a stage trains: from what kernels are taken to reach, or from an MFU that is known.

Without a measurement a step takes its arithmetic at a share of the peak, activations that are
computed again included, and the communication that is not hidden behind it: what takes longer than
the arithmetic, and always a fifth, since the first layer and the last gradients are waited for and
collectives take compute units from the arithmetic. A known MFU has all of this in it already; then
only a network that is too slow for it changes the time.
"""

from __future__ import annotations

from dataclasses import dataclass

from astrosage.plan import communication
from astrosage.plan.communication import Fabric
from astrosage.plan.setup import Setup
from astrosage.plan.workload import Work

# Share of the dense bf16 peak that the arithmetic of large layers is assumed to reach on one GPU.
# Published end-to-end figures for models of 7B to 70B on H100 lie between 33 and 47 %.
KERNEL_SHARE = 0.45
# Share of the communication that is assumed to be hidden at best.
OVERLAP = 0.8


@dataclass(frozen=True)
class Rate:
    """What a worker computes.

    Attributes:
        flops: Operations a second.
        mfu: The same as a share of the peak; None where no peak is known.
        known: Whether it is an MFU, with all that keeps a worker from computing in it; else it is
            what kernels reach.
        source: Where the figure is from, for people.
    """

    flops: float
    mfu: float | None
    known: bool
    source: str


@dataclass(frozen=True)
class Pace:
    """How fast a stage goes.

    Attributes:
        step_seconds: An optimizer step.
        tokens_per_second: Over all workers.
        mfu: What comes of it; None where no peak is known.
        computing: Seconds of arithmetic in a step.
        talking: Seconds of communication in a step, hidden or not.
    """

    step_seconds: float
    tokens_per_second: float
    mfu: float | None
    computing: float
    talking: float

    @property
    def network_bound(self) -> bool:
        """Whether the network, not arithmetic, sets the pace."""
        return self.talking > self.computing


def assumed(peak: float, mfu: float | None) -> Rate:
    """The rate of a GPU that nothing was measured on.

    Args:
        peak: Its FLOP/s.
        mfu: The MFU to reckon with, if said.
    """
    if mfu is not None:
        return Rate(mfu * peak, mfu, True, f"--mfu {mfu:g}")
    share = f"arithmetic assumed at {KERNEL_SHARE:.0%} of the peak"
    return Rate(KERNEL_SHARE * peak, KERNEL_SHARE, False, share)


def pace(setup: Setup, work: Work, rate: Rate, fabric: Fabric | None) -> Pace:
    """How fast the stage goes on its workers."""
    counted = work.step_flops / setup.workers / rate.flops
    computing = counted if rate.known else counted * _done(setup, work)
    talking = communication.seconds(setup, fabric) if fabric else 0.0
    least = 0.0 if rate.known else (1 - OVERLAP) * talking
    seconds = computing + max(talking - computing, least)
    mfu = None if rate.mfu is None else rate.mfu * counted / seconds
    return Pace(seconds, work.step_tokens / seconds, mfu, computing, talking)


def _done(setup: Setup, work: Work) -> float:
    """Arithmetic done over arithmetic counted: activation checkpointing repeats the layers' forward
    pass, a third of what is counted of them; with frozen weights their gradients are not computed,
    another third."""
    head = setup.shape.flops(0, work.step_tokens * work.rows.learnt, 0)
    layers = (work.step_flops - head) / work.step_flops
    again = 1 / 3 if setup.spec.activation_checkpointing else 0.0
    frozen = 1 / 3 if setup.spec.lora else 0.0
    return 1 + layers * (again - frozen)
