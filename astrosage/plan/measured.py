"""The rate of an earlier run, out of its metrics: what a plan can rest on instead of a guess."""

from __future__ import annotations

import statistics
from typing import Any

from astrosage.errors import NotFoundError, SpecError
from astrosage.plan import models, workload
from astrosage.plan.accelerators import Accelerator
from astrosage.plan.pace import Rate
from astrosage.plan.preflight import base_of
from astrosage.plan.setup import Setup
from astrosage.plan.workload import Rows
from astrosage.runs import metrics
from astrosage.runs.directory import RunDirectory
from astrosage.spec.base import did_you_mean
from astrosage.spec.job import AstroJob
from astrosage.spec.stages import Stage

_WARM_UP_STEPS = 2
_FIELD = "--measured"


def rate(run: RunDirectory, wanted: str | None, accelerator: Accelerator | None) -> Rate:
    """What a worker of a finished or running stage computes.

    On a processor it is operations a second: its tokens a second times the operations of a token.
    For a GPU it is the share of the peak that was reached, times the peak of the GPU planned for.

    Args:
        run: Its directory.
        wanted: The train stage; None if there is only one.
        accelerator: The GPU planned for; None for processors.

    Raises:
        NotFoundError, SpecError: If it has no steps to measure, or ran on something else.
    """
    job = run.job()
    stage = _stage(job, wanted)
    found = run.stage(stage.name)
    training = (found.manifest("model") or {}).get("training", {})
    lines = [m for m in metrics.read(found.storage) if "tokensPerSecond" in m]
    lines = lines[_WARM_UP_STEPS:]
    if not lines:
        raise NotFoundError(
            f"{_FIELD}: stage `{stage.name}` of run {job.key} has no metrics of more than "
            f"{_WARM_UP_STEPS} steps",
            "name a run that has trained for longer",
        )
    steps = f"{len(lines)} step" + ("s" if len(lines) > 1 else "")
    source = f"measured in run {job.key}, stage {stage.name}, {steps}"
    mfu = statistics.median(float(m.get("mfu", 0.0)) for m in lines)
    if accelerator is not None:
        return _on_gpu(accelerator, mfu, training, job.key, source)
    speed = statistics.median(float(m["tokensPerSecond"]) for m in lines)
    workers = int(training.get("workers") or job.cluster_of(stage).max_workers)
    flops = speed * _token_flops(job, stage) / workers
    return Rate(flops, mfu or None, True, f"{source}: {flops / 1e9:,.0f} GFLOP/s a worker")


def _on_gpu(
    accelerator: Accelerator, mfu: float, training: dict[str, Any], key: str, source: str
) -> Rate:
    peak = str(training.get("mfuPeak", ""))
    if peak.startswith("measured") or not mfu:
        raise SpecError(
            f"{_FIELD}: run {key} did not train on a GPU ({peak or 'no peak is recorded'}), and "
            f"says nothing of {accelerator.name}",
            "name a run on such GPUs, or assume a share of the peak with --mfu",
        )
    return Rate(mfu * accelerator.tflops * 1e12, mfu, True, f"{source}: MFU {mfu:.1%}")


def _stage(job: AstroJob, wanted: str | None) -> Stage:
    stages = {s.name: s for s in job.spec.stages if s.train is not None}
    if wanted is None and len(stages) == 1:
        return next(iter(stages.values()))
    if wanted not in stages:
        what = "has no train stage" if not stages else f"has no train stage `{wanted}`"
        if wanted is None and stages:
            what = f"has {len(stages)} train stages"
        raise SpecError(
            f"{_FIELD}: run {job.key} {what}",
            f"RUN/STAGE; {did_you_mean(wanted or '', stages)}",
        )
    return stages[wanted]


def _token_flops(job: AstroJob, stage: Stage) -> float:
    """Operations of a token in that run, as its documents are on average."""
    assert stage.train is not None
    prepare = job.stage(stage.train.data).prepare
    assert prepare is not None
    length = prepare.pack.sequence_length
    base = base_of(job, stage.train.model)
    rows: Rows = workload.rows_of(job, stage, None, remote=True)
    setup = Setup(models.shape_of(base, "model"), stage.train, 1, length, 1, cuda=False)
    work = workload.work(setup, rows)
    return work.step_flops / work.step_tokens
