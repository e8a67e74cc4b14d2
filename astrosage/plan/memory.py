"""Memory of each worker, term by term, at the moment of a step when it is highest.

ZeRO (Rajbhandari et al. 2020) shares out the optimizer states (stage 1), the gradients (2) and the
parameters (3) over the workers. What a step needs beside them changes while it goes on, so four
moments are added up and the highest one is the plan:

* ``loss``: every layer's activations, and the logits or the output layer's gradient;
* ``backward begins``: the same activations and those that flow in the last layer;
* ``backward ends``: the activations of one layer, and every gradient on its way to its worker;
* ``update``: no activations; gradients are turned to fp32 for the optimizer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from astrosage.plan import activations, allocator
from astrosage.plan.setup import Setup

FP32 = 4
MOMENT_BYTES = 8
# DeepSpeed's own buffer for reducing gradients outside of ZeRO's buckets, in elements.
_REDUCED_AT_ONCE = 500_000_000


@dataclass(frozen=True)
class Memory:
    """Bytes of one worker's device at one moment.

    Attributes:
        moment: Which.
        parameters: As they are computed with, and a second copy where partitions are hierarchical.
        gradients: As they are kept and added up.
        optimizer: fp32 master weights and Adam's moments.
        activations: Kept for, and flowing in, the backward pass; on a processor with what glibc
            holds back when they are free.
        loss: Logits, gradient of the output layer.
        buffers: Gathering parameters, reducing gradients, fp32 gradients of the update.
        overhead: The framework's own.
        host: Bytes of the machine's memory that offloaded states take, not part of the total.
    """

    moment: str
    parameters: float
    gradients: float = 0.0
    optimizer: float = 0.0
    activations: float = 0.0
    loss: float = 0.0
    buffers: float = 0.0
    overhead: float = 0.0
    host: float = 0.0

    @property
    def total(self) -> float:
        """All of it on the device."""
        return float(sum(getattr(self, name) for name in PARTS))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, in whole bytes."""
        data = {n: v if isinstance(v, str) else round(v) for n, v in asdict(self).items()}
        return {**data, "total": round(self.total)}


PARTS = (
    "parameters",
    "gradients",
    "optimizer",
    "activations",
    "loss",
    "buffers",
    "overhead",
)


def peak(setup: Setup) -> Memory:
    """Memory at the worst moment of a step."""
    return max(moments(setup), key=lambda m: m.total)


def moments(setup: Setup) -> Iterator[Memory]:
    """Memory at each of the moments."""
    found = [_loss(setup), _backward_begins(setup), _backward_ends(setup), _update(setup)]
    gathered = _gathered(setup)
    small = [m.activations + (0.0 if m.moment == "update" else gathered) for m in found]
    for moment, blocks in zip(found, small, strict=True):
        held = allocator.held(setup, blocks, max(small), gathered)
        changing = moment.activations + moment.loss + moment.buffers
        yield replace(
            moment,
            activations=moment.activations + held,
            overhead=allocator.overhead(setup, changing),
        )


def _moment(
    setup: Setup,
    name: str,
    *,
    gradients: float = 0.0,
    activations: float = 0.0,
    loss: float = 0.0,
    buffers: float = 0.0,
) -> Memory:
    """What is always there, and what is given."""
    return Memory(
        moment=name,
        parameters=parameters(setup),
        gradients=_gradients_always(setup) + gradients,
        optimizer=0.0 if _offloaded(setup) else optimizer(setup),
        activations=activations,
        loss=loss,
        buffers=_bucket_always(setup) + buffers,
        host=host(setup),
    )


def _loss(setup: Setup) -> Memory:
    return _moment(
        setup,
        "loss",
        activations=activations.kept(setup),
        loss=activations.loss(setup),
        buffers=_gathered(setup),
    )


def _backward_begins(setup: Setup) -> Memory:
    return _moment(
        setup,
        "backward begins",
        activations=activations.kept(setup) + activations.working(setup),
        loss=activations.head_gradient(setup),
        buffers=_gathered(setup) + _buckets(setup),
    )


def _backward_ends(setup: Setup) -> Memory:
    return _moment(
        setup,
        "backward ends",
        gradients=_gradients_growing(setup),
        activations=activations.working(setup),
        buffers=_gathered(setup) + _buckets(setup, filled=True) + _reducing(setup),
    )


def _update(setup: Setup) -> Memory:
    if _offloaded(setup):
        return _moment(setup, "update")
    growing = _gradients_growing(setup)
    return _moment(setup, "update", gradients=growing, buffers=_fp32_gradients(setup))


def _fp32_gradients(setup: Setup) -> float:
    """Copies of gradients that the optimizer is given: flat, and in fp32."""
    if not setup.stage:
        return setup.share * (0 if setup.bytes_each == FP32 else FP32)
    if _keeps_fp32_gradients(setup):
        return 0.0
    part = setup.share
    if setup.stage == 3:
        part = min(part, setup.zero_option("sub_group_size"))
    # What is fp32 already is made flat only.
    return part * (FP32 + (setup.gradient_bytes if setup.gradient_bytes != FP32 else 0))


def _keeps_fp32_gradients(setup: Setup) -> bool:
    """Whether every gradient has an fp32 place of its own: ZeRO-1 in bf16 with accumulation."""
    return setup.stage == 1 and setup.gradient_bytes > setup.bytes_each


def _offloaded(setup: Setup) -> bool:
    """Whether optimizer states are elsewhere; on a processor `cpu` is the same memory."""
    place = setup.spec.zero.offload_optimizer
    return place == "nvme" or (place == "cpu" and setup.cuda)


def parameters(setup: Setup) -> float:
    """Bytes of parameters on the device."""
    whole, zero = float(setup.bytes_each * setup.parameters), setup.spec.zero
    if setup.stage < 3:
        return whole
    elsewhere = zero.offload_parameters == "nvme" or (
        zero.offload_parameters == "cpu" and setup.cuda
    )
    second = whole / setup.near if setup.near else 0.0
    return second + (0.0 if elsewhere else whole / setup.workers)


def optimizer(setup: Setup) -> float:
    """Bytes of fp32 master weights and moments, wherever they are."""
    master = FP32 if setup.stage or setup.bytes_each != FP32 else 0
    return setup.share * (master + MOMENT_BYTES)


def host(setup: Setup) -> float:
    """Bytes of the machine's memory that a GPU worker's offloaded states take."""
    zero = setup.spec.zero
    if not setup.cuda:
        return 0.0
    states = optimizer(setup) + FP32 * setup.share if zero.offload_optimizer == "cpu" else 0.0
    weights = setup.bytes_each * setup.parameters / setup.workers
    return states + (weights if zero.offload_parameters == "cpu" else 0.0)


def _gradients_always(setup: Setup) -> float:
    """Gradients that have a place of their own from the start."""
    if setup.stage == 3 and not _offloaded(setup):
        return setup.share * setup.gradient_bytes
    return float(setup.trained * FP32) if _keeps_fp32_gradients(setup) else 0.0


def _gradients_growing(setup: Setup) -> float:
    """Gradients that appear in the course of the backward pass, outside of buckets."""
    if setup.stage == 3:
        return 0.0
    if setup.stage == 2:
        return setup.share * setup.gradient_bytes
    return float(setup.trained * setup.bytes_each)


def _gathered(setup: Setup) -> float:
    """Whole parameters at once under ZeRO-3, on more than one worker."""
    if setup.stage < 3 or setup.workers == 1:
        return 0.0
    ahead = setup.zero_option("stage3_prefetch_bucket_size")
    live = setup.zero_option("stage3_max_live_parameters") + ahead
    return float(setup.bytes_each * min(setup.parameters, live))


def _bucket(setup: Setup, *, filled: bool) -> float:
    """Elements of a bucket: on a GPU it is there whole, on a processor as far as it was filled."""
    size = setup.zero_option("reduce_bucket_size")
    return float(min(size, setup.trained) if filled or not setup.cuda else size)


def _bucket_always(setup: Setup) -> float:
    """ZeRO-3's bucket stays between steps."""
    if setup.stage < 3:
        return 0.0
    return setup.communication_bytes * _bucket(setup, filled=False)


def _buckets(setup: Setup, *, filled: bool = False) -> float:
    """ZeRO-2's buckets, two where communication goes on beside the backward pass."""
    if setup.stage != 2 or not (setup.cuda or filled):
        return 0.0
    count = 2 if setup.deepspeed["zero_optimization"].get("overlap_comm") else 1
    return count * setup.bytes_each * _bucket(setup, filled=False)


def _reducing(setup: Setup) -> float:
    """Copies that reducing a bucket makes: in another type, and in the order of the workers."""
    filled = _bucket(setup, filled=True) if setup.stage else float(setup.trained)
    other = setup.communication_bytes != setup.bytes_each
    ordered = setup.communication_bytes * filled
    if setup.stage == 3:
        return ordered * (2 if other else 1)
    if setup.stage == 0:
        return ordered if setup.workers > 1 else 0.0
    if _keeps_fp32_gradients(setup):
        part = min(_REDUCED_AT_ONCE, setup.trained)
        return float(part * (FP32 + setup.communication_bytes))
    return ordered if other else 0.0
