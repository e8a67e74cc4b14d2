"""Learning-rate schedules: a pure function of the step, so that resuming needs no state."""

from __future__ import annotations

import math
from itertools import accumulate, pairwise

from astrosage.errors import SpecError
from astrosage.spec.train import Phase, TrainSpec

_DECAYING = ("cosine", "linear", "wsd")


def learning_rate(spec: TrainSpec, step: int, total: int) -> float:
    """The learning rate of optimizer step ``step`` (from 0) of ``total``.

    Warm-up is linear from peak / warm-up steps. ``cosine`` and ``linear`` decay from there to
    ``min_learning_rate_ratio`` of the peak at the last step; ``wsd`` (Hu et al. 2024) holds the
    peak and comes down linearly over the last ``decay_ratio`` of the steps. Each phase does all of
    this over its own steps.

    Raises:
        SpecError: If there are fewer steps than phases.
    """
    if not spec.phases:
        return _rate(spec, step, total)
    for phase, span in zip(spec.phases, spans(spec, total), strict=True):
        if step in span:
            return _rate(_within(spec, phase), step - span.start, len(span))
    raise ValueError(f"step {step} is not one of {total}")


def spans(spec: TrainSpec, total: int, where: str = "train") -> list[range]:
    """The steps of each phase, one after the other; without phases, all of them.

    Args:
        spec: The stage.
        total: Optimizer steps.
        where: The stage's place in the run file, for the message.

    Raises:
        SpecError: Naming the phase that would get no step.
    """
    sums = list(accumulate(p.share for p in spec.phases)) or [1.0]
    bounds = [0, *(round(total * s / sums[-1]) for s in sums)]
    for index, (begin, end) in enumerate(pairwise(bounds)):
        if begin == end:
            share = spec.phases[index].share if spec.phases else 1
            raise SpecError(
                f"{where}.phases[{index}].share: {share:g} of {sums[-1]:g} is less than one of the "
                f"{total} steps: this phase would end before it starts",
                "raise its share or train for more steps (`maxSteps`, `epochs`), or remove it",
            )
    return [range(begin, end) for begin, end in pairwise(bounds)]


def check(spec: TrainSpec, total: int | None, where: str = "train") -> None:
    """Refuse a schedule, or a part of one, that would end before it starts.

    Args:
        spec: The stage.
        total: Optimizer steps, if they are known yet.
        where: The stage's place in the run file, for the message.

    Raises:
        SpecError: Naming the field.
    """
    for index, phase in enumerate(spec.phases or [Phase(share=1)]):
        part = _within(spec, phase)
        of_phase = f".phases[{index}]" if spec.phases and phase.warmup_ratio is not None else ""
        if part.schedule in _DECAYING and part.warmup_ratio >= 1.0:
            raise SpecError(
                f"{where}{of_phase}.warmupRatio: {part.warmup_ratio:g} leaves no step for the "
                f"{part.schedule} decay: the schedule would end before it starts",
                "lower it, such as to 0.03, or take `schedule: constant`",
            )
    if total is not None:
        spans(spec, total, where)


def _within(spec: TrainSpec, phase: Phase) -> TrainSpec:
    """The stage as it is inside a phase."""
    own = phase.model_dump(exclude={"share"}, exclude_none=True)
    return spec.model_copy(update={**own, "phases": []})


def _rate(spec: TrainSpec, step: int, total: int) -> float:
    """One schedule, from warm-up to floor."""
    warmup = math.ceil(spec.warmup_ratio * total)
    if step < warmup:
        return spec.learning_rate * (step + 1) / warmup
    floor = spec.min_learning_rate_ratio
    return spec.learning_rate * (floor + (1 - floor) * _shape(spec, step, total, warmup))


def _shape(spec: TrainSpec, step: int, total: int, warmup: int) -> float:
    """From 1 at the peak to 0 at the floor, after warm-up."""
    if spec.schedule == "wsd":
        decay = min(math.ceil(spec.decay_ratio * total), total - warmup)
        return min(1.0, (total - 1 - step) / decay) if decay else 1.0
    if spec.schedule == "constant" or total <= warmup + 1:
        return 1.0
    done = (step - warmup) / (total - 1 - warmup)
    return 0.5 * (1 + math.cos(math.pi * done)) if spec.schedule == "cosine" else 1 - done
