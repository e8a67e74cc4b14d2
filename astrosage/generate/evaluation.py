"""The questions that a run is judged by, which no generated pair may hold."""

from __future__ import annotations

from astrosage.data.decontaminate import QuestionIndex
from astrosage.spec.graph import path_of
from astrosage.spec.job import AstroJob
from astrosage.spec.prepare import Decontaminate


def index(job: AstroJob) -> QuestionIndex | None:
    """Every question of the run's bench stages, by the rules of a prepare stage; None without any.

    Raises:
        NotFoundError, DataError: If a question file cannot be read; none is ever skipped.
    """
    from astrosage.bench.questions import load

    options = Decontaminate()
    found = QuestionIndex(options.deciding, options.covering, options.coverage)
    files: set[str] = set()
    for stage in job.spec.stages:
        for i, item in enumerate(stage.bench.questions if stage.bench else []):
            if item.path not in files:
                files.add(item.path)
                where = f"{path_of(job, stage)}.bench.questions[{i}].path"
                found.add(load(item.path, where, item.layout), item.path)
    return found if files else None
