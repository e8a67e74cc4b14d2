"""How a model compares with the one that is served: scores of its run, or made for the purpose."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astroctl.serving.models import Model
from astrosage.errors import NotFoundError
from astrosage.runs.directory import RunDirectory
from astrosage.spec import load
from astrosage.spec.bench import BenchSpec, Gate
from astrosage.spec.job import AstroJob
from astrosage.spec.stages import Stage


@dataclass(frozen=True)
class Evidence:
    """A bench summary.

    Attributes:
        summary: The stage's, with a baseline.
        gate: What its run file asks.
        where: Where it is from, for people.
    """

    summary: dict[str, Any]
    gate: Gate
    where: str


def of_run(model: Model, served: str) -> Evidence:
    """The newest finished comparison of a model with what is served, in its own run.

    Args:
        model: The candidate.
        served: The reference of the model that is served.

    Raises:
        NotFoundError: If there is none.
    """
    directory, job = model.directory, model.job
    if directory is not None and job is not None:
        for stage in reversed(list(_comparisons(directory, job, model.reference, served))):
            summary = directory.stage(stage.name).storage.read_json("bench/summary.json")
            assert stage.bench is not None
            return Evidence(summary, stage.bench.gate, f"stage {stage.name} of {job.metadata.name}")
    raise NotFoundError(
        f"no finished bench compares {model.reference} with {served}, which is served",
        "score both now: --questions FILE (the gate's margin: --margin)",
    )


def _comparisons(
    directory: RunDirectory, job: AstroJob, model: str, served: str
) -> Iterator[Stage]:
    made = {s.name: directory.stage(s.name).storage.path("model") for s in job.spec.stages}
    for stage in job.spec.stages:
        bench = stage.bench
        if bench is None or bench.model is None or bench.baseline is None:
            continue
        sides = [made.get(side, side) for side in (bench.model, bench.baseline)]
        if sides == [model, served] and directory.finished(stage) is not None:
            yield stage


def score_now(target: Any, model: Model, served: str, options: dict[str, Any]) -> Evidence:
    """Score both models on questions, and wait for it.

    Args:
        target: Where to.
        model: The candidate.
        served: The model that is served.
        options: ``questions``, ``limit`` and ``namespace``.
    """
    from astroctl.cli.closing import summaries
    from astroctl.cli.follow import follow
    from astroctl.cli.output import say
    from astroctl.runs.choose import runs_on

    runs = runs_on(target)
    job = load.parse(_job(target, model, served, options), source="promote")
    job = runs.place(load.with_absolute_paths(job, Path.cwd()), options["namespace"], Path.cwd())
    record, _ = runs.submit(job, job.spec.stages, only=False)
    say(f"scoring both models: run {record.name}")
    follow(record)
    (summary,) = summaries(runs.directory(record)).values()
    return Evidence(summary, BenchSpec.model_fields["gate"].default, f"run {record.name}")


def _job(target: Any, model: Model, served: str, options: dict[str, Any]) -> dict[str, Any]:
    limit = {"limit": options["limit"]} if options["limit"] else {}
    bench = {
        "model": model.reference,
        "baseline": served,
        "questions": [{"path": path, **limit} for path in options["questions"]],
    }
    place = model.place(target)
    if place:
        place["cluster"]["workers"] = 1
    spec = {
        "model": model.reference,
        "storage": "./runs",
        "stages": [{"name": "score", "bench": bench}],
        **place,
    }
    return {"metadata": {"name": time.strftime("promote-%m%d-%H%M%S")}, "spec": spec}
