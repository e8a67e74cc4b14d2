"""Plans as plain data, for JSON and YAML: bytes, seconds, USD, camelCase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from astrosage.plan.pace import Pace
from astrosage.plan.stages import StagePlan


def document(plans: Sequence[StagePlan]) -> dict[str, Any]:
    """Every stage, and the sums over them where every part is known."""
    return {
        "stages": [_stage(p) for p in plans],
        "total": {
            "hours": total([p.hours for p in plans]),
            "gpuHours": total([p.gpu_hours for p in plans]),
            "usd": total([p.usd for p in plans]),
        },
    }


def total(values: Sequence[float | None]) -> float | None:
    """The sum; None if a part is unknown."""
    known = [v for v in values if v is not None]
    return sum(known) if len(known) == len(values) else None


def _stage(plan: StagePlan) -> dict[str, Any]:
    setup = plan.setup
    return {
        "name": plan.name,
        "model": plan.model,
        "parameters": setup.shape.parameters,
        "trainedParameters": setup.trained,
        "workers": {"min": setup.workers, "max": plan.workers},
        "accelerator": plan.accelerator.name if plan.accelerator else None,
        "sequenceLength": setup.sequence_length,
        "globalBatchSize": setup.spec.global_batch_size,
        "microBatchSize": setup.micro_batch,
        "accumulationSteps": setup.accumulation,
        "zeroStage": setup.stage,
        "memory": _memory(plan),
        "data": _data(plan),
        "speed": _speed(plan),
        "cost": {
            "hours": plan.hours,
            "gpuHours": plan.gpu_hours,
            "usdPerHour": plan.price.hourly,
            "usd": plan.usd,
            "source": plan.price.source,
        },
        "communication": {
            "bytesPerWorkerPerStep": round(plan.communication),
            "seconds": plan.communication_seconds,
        },
        "checkpoint": {
            "bytes": round(plan.checkpoint),
            "kept": plan.checkpoints,
            "seconds": plan.checkpoint_seconds,
            "everySteps": setup.spec.checkpoint.every_steps,
            "exportBytes": round(plan.export),
        },
        "advice": [a.to_dict() for a in plan.advice],
        "notes": plan.notes,
    }


def _memory(plan: StagePlan) -> dict[str, Any]:
    return {
        "limit": None if plan.limit is None else round(plan.limit),
        "limitSource": plan.limit_source,
        "fits": plan.fits,
        "byZeroStage": [
            {
                "zeroStage": stage,
                **memory.to_dict(),
                "largestMicroBatch": plan.largest[stage] if plan.largest else None,
            }
            for stage, memory in plan.by_stage.items()
        ],
    }


def _data(plan: StagePlan) -> dict[str, Any]:
    work, rows = plan.work, plan.work.rows
    return {
        "sequences": None if rows.sequences is None else round(rows.sequences),
        "source": rows.source,
        "estimated": rows.estimated,
        "steps": work.steps,
        "tokensPerStep": round(work.step_tokens),
        "tokens": None if work.steps is None else round(work.steps * work.step_tokens),
    }


def _speed(plan: StagePlan) -> dict[str, Any] | None:
    if plan.rate is None or plan.pace is None:
        return None
    return {
        "source": plan.rate.source,
        **_pace(plan.pace),
        "onFewestWorkers": _pace(plan.slowest) if plan.slowest else None,
    }


def _pace(pace: Pace) -> dict[str, Any]:
    return {
        "tokensPerSecond": pace.tokens_per_second,
        "stepSeconds": pace.step_seconds,
        "mfu": pace.mfu,
        "computingSeconds": pace.computing,
        "communicationSeconds": pace.talking,
        "networkBound": pace.network_bound,
    }
