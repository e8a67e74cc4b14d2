"""What is taken beyond what is asked for: libraries, contexts, blocks an allocator holds back."""

from __future__ import annotations

from astrosage.plan import activations
from astrosage.plan.setup import Setup

MIB = 2**20
GIB = 2**30
# Assumed: CUDA's context and libraries, NCCL's channels; and what PyTorch's caching allocator
# leaves unused between blocks of what comes and goes.
_CUDA_FIXED = 2 * GIB
_CUDA_FRAGMENTATION = 0.04
# Measured: what a Ray worker with PyTorch, DeepSpeed and transformers has before a model is loaded,
# and what it grows by whatever the model (buffers of the product libraries, of communication).
CPU_LIBRARIES = 630 * MIB
_CPU_FIXED = 75 * MIB
# glibc gives larger blocks back to the system when they are freed and keeps smaller ones
# (mallopt(3), M_MMAP_THRESHOLD), so that activations stay resident when nobody needs them.
_KEPT_BELOW = 32 * MIB
# Measured: how much more than they are at most such blocks take in the end, since freed blocks
# are not always where the next ones fit. ZeRO-3 frees and gathers between them.
_CPU_FRAGMENTATION = {0: 1.0, 1: 1.3, 2: 1.3, 3: 1.5}
# The same where adapters make and free two blocks more for each projection.
_CPU_ADAPTERS = 1.6
# Measured: with activation checkpointing each layer's blocks are freed in the forward pass already,
# but so much of what would have been kept stays resident all the same.
_CPU_RECOMPUTED = {0: 0.35, 1: 0.35, 2: 0.35, 3: 0.75}


def overhead(setup: Setup, changing: float) -> float:
    """Bytes that nobody asked for.

    Args:
        setup: The stage.
        changing: Bytes of what comes and goes, at a moment of a step.
    """
    if setup.cuda:
        return _CUDA_FIXED + _CUDA_FRAGMENTATION * changing
    return CPU_LIBRARIES + _CPU_FIXED


def held(setup: Setup, small: float, most: float, gathered: float) -> float:
    """Bytes of activations and gathered parameters that a processor has free but still resident.

    Args:
        setup: The stage.
        small: Bytes of such blocks that are in use at a moment.
        most: Bytes of them when they are most.
        gathered: Bytes of gathered parameters among these.
    """
    if setup.cuda:
        return 0.0
    resident = most * _CPU_FRAGMENTATION[setup.stage]
    if setup.spec.lora is not None:
        resident = most * max(_CPU_ADAPTERS, _CPU_FRAGMENTATION[setup.stage])
    if setup.spec.activation_checkpointing:
        whole = setup.shape.layers * activations.layer(setup)
        resident = max(resident, whole * _CPU_RECOMPUTED[setup.stage] + gathered)
    return max(0.0, resident * _kept_share(setup) - small)


def _kept_share(setup: Setup) -> float:
    """Share of them that are in blocks which the allocator keeps, judged by the activations."""
    shape, row = setup.shape, setup.tokens * setup.bytes_each
    wide = 3 * shape.intermediate
    narrow = 4 * shape.hidden + 2 * (shape.query_width + shape.key_value_width)
    kept = sum(
        size
        for size, width in ((wide, shape.intermediate), (narrow, shape.hidden))
        if row * width < _KEPT_BELOW
    )
    return kept / (wide + narrow)
