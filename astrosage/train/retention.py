"""Which checkpoints are kept: a pure function of what is known of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from astrosage.spec.train import CheckpointSpec


@dataclass(frozen=True)
class Facts:
    """What is known of a finished checkpoint.

    Attributes:
        step: Optimizer steps done.
        validation_loss: Measured at that very step, or None.
        for_good: Whether it is one of those that ``keepEveryHours`` keeps.
    """

    step: int
    validation_loss: float | None = None
    for_good: bool = False


def kept(checkpoints: Sequence[Facts], spec: CheckpointSpec) -> set[int]:
    """Steps of the checkpoints to keep: the newest, the best, and those kept for good."""
    newest = sorted(c.step for c in checkpoints)[-spec.keep :]
    judged = [(c.validation_loss, -c.step) for c in checkpoints if c.validation_loss is not None]
    best = [-step for _, step in sorted(judged)[: spec.keep_best]]
    return {*newest, *best, *(c.step for c in checkpoints if c.for_good)}
