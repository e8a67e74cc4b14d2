"""Plans of training for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from astroctl.cli.output import duration, size, table
from astrosage.plan.advice import Advice
from astrosage.plan.document import total
from astrosage.plan.memory import PARTS
from astrosage.plan.stages import StagePlan


def text(plans: Sequence[StagePlan]) -> str:
    """Stage by stage, and the sum where there are several."""
    blocks = ["\n".join(_stage(plan)) for plan in plans]
    if len(plans) > 1:
        hours, gpu_hours = total([p.hours for p in plans]), total([p.gpu_hours for p in plans])
        if hours is not None:
            blocks.append(f"in all: {_bill(hours, gpu_hours, total([p.usd for p in plans]))}")
    return "\n\n".join(blocks)


def _stage(plan: StagePlan) -> Iterator[str]:
    setup = plan.setup
    device = plan.accelerator.name if plan.accelerator else ("GPU" if setup.cuda else "CPU")
    trained = "" if setup.spec.lora is None else f", {_count(setup.trained)} of them trained"
    workers = (
        f"{setup.workers}"
        if plan.workers == setup.workers
        else f"{setup.workers} to {plan.workers}"
    )
    yield (
        f"{plan.name}: {plan.model} ({_count(setup.shape.parameters)} parameters{trained}) on "
        f"{workers} {device} workers, {setup.micro_batch} x {setup.sequence_length} tokens at "
        f"once, {setup.accumulation} times a step"
    )
    yield from _memory(plan)
    yield ""
    yield from _facts(plan)
    for note in plan.notes:
        yield f"note: {note}"
    for advice in plan.advice:
        yield _advice(advice)


def _memory(plan: StagePlan) -> Iterator[str]:
    headers = ["ZERO", *(name.upper() for name in PARTS), "PEAK", "AT", "LARGEST MICRO-BATCH"]
    rows = []
    for stage, memory in plan.by_stage.items():
        mark = "*" if stage == plan.setup.stage else " "
        most = "" if plan.largest is None else (plan.largest[stage] or "none fits")
        parts = [size(getattr(memory, name)) for name in PARTS]
        rows.append([f"{stage}{mark}", *parts, size(memory.total), memory.moment, most])
    yield table(headers, rows)
    if plan.peak.host:
        yield f"and {size(plan.peak.host)} of the machine's memory a worker (offload)"
    if plan.limit is None:
        yield f"whether it fits is not known: {plan.limit_source}"
    else:
        verdict = "fits" if plan.fits else "does NOT fit"
        yield f"{verdict}: {size(plan.peak.total)} of {size(plan.limit)} ({plan.limit_source})"


def _facts(plan: StagePlan) -> Iterator[str]:
    work, rows = plan.work, plan.work.rows
    if work.steps is None:
        yield f"steps: unknown; {_count(work.step_tokens)} tokens each ({rows.source})"
    else:
        yield (
            f"steps: {work.steps:,} of {_count(work.step_tokens)} tokens, "
            f"{_count(work.steps * work.step_tokens)} in all (from {rows.source})"
        )
    if plan.rate is not None and plan.pace is not None:
        yield from _speed(plan)
    if plan.communication:
        time = plan.communication_seconds
        alone = "" if time is None else f", {time:.2g} s if nothing else were done"
        yield f"communication: {size(plan.communication)} a worker and step{alone}"
    yield (
        f"checkpoint: {size(plan.checkpoint)}, {plan.checkpoints} kept, written in about "
        f"{duration(plan.checkpoint_seconds)}; finished model {size(plan.export)}"
    )


def _speed(plan: StagePlan) -> Iterator[str]:
    assert plan.pace is not None
    assert plan.rate is not None
    pace = plan.pace
    bound = "; the network sets the pace" if pace.network_bound else ""
    mfu = "" if pace.mfu is None else f", MFU {pace.mfu:.1%}"
    yield (
        f"speed: {pace.tokens_per_second:,.0f} tokens/s, {pace.step_seconds:.3g} s a step{mfu} "
        f"({plan.rate.source}{bound})"
    )
    if plan.slowest is not None:
        yield (
            f"  on {plan.setup.workers} workers: {plan.slowest.tokens_per_second:,.0f} tokens/s, "
            f"{plan.slowest.step_seconds:.3g} s a step"
        )
    if plan.hours is not None:
        yield f"time: {_bill(plan.hours, plan.gpu_hours, plan.usd)} (price: {plan.price.source})"


def _bill(hours: float, gpu_hours: float | None, usd: float | None) -> str:
    parts = [f"{hours:,.1f} h" if hours >= 1 else duration(hours * 3600)]
    if gpu_hours is not None:
        parts.append(f"{gpu_hours:,.0f} GPU-hours")
    if usd is not None:
        parts.append(f"{usd:,.0f} USD" if usd >= 100 else f"{usd:,.2f} USD")
    return ", ".join(parts)


def _advice(advice: Advice) -> str:
    changes = ", ".join(f"{c.field}: {_value(c.old)} -> {_value(c.new)}" for c in advice.changes)
    kind = "must change" if advice.needed else "could change"
    return f"{kind}: {changes}: {advice.why}" if changes else f"{kind}: {advice.why}"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else str(value)


def _count(value: float) -> str:
    for suffix, factor in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= factor:
            return f"{value / factor:.3g} {suffix}"
    return f"{value:.0f}"
