"""Learning-rate schedules: a pure function of the step, so that resuming needs no state."""

from __future__ import annotations

import math

from astrosage.spec.stages import TrainSpec


def learning_rate(spec: TrainSpec, step: int, total: int) -> float:
    """The learning rate of optimizer step ``step`` (from 0) of ``total``.

    Warm-up is linear from peak / warm-up steps; decay ends at ``min_learning_rate_ratio`` of the
    peak at the last step.
    """
    warmup = math.ceil(spec.warmup_ratio * total)
    if step < warmup:
        return spec.learning_rate * (step + 1) / warmup
    if spec.schedule == "constant" or total <= warmup + 1:
        return spec.learning_rate
    done = (step - warmup) / (total - 1 - warmup)
    shape = 0.5 * (1 + math.cos(math.pi * done)) if spec.schedule == "cosine" else 1 - done
    floor = spec.min_learning_rate_ratio
    return spec.learning_rate * (floor + (1 - floor) * shape)
