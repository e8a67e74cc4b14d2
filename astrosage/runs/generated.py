"""Where a run's generated chats and questions lie, for the stages that name their maker."""

from __future__ import annotations

from astrosage.runs.directory import ARTEFACTS, RunDirectory
from astrosage.spec import graph
from astrosage.spec.generate import PRODUCTS
from astrosage.spec.job import AstroJob


def with_places(job: AstroJob, run: RunDirectory) -> AstroJob:
    """A copy of the job in which the name of a generate stage, where a file may stand, is its file.

    Args:
        job: With generate stages named in sources and question sets.
        run: The run, whose directory holds what they make.
    """
    job = job.model_copy(deep=True)
    for stage in job.spec.stages:
        if stage.prepare is not None:
            prepare = stage.prepare
            for source in (*prepare.sources, *prepare.validation.sources):
                source.path = _place(job, run, source.path)
            against = prepare.decontaminate.against
            against[:] = [_place(job, run, path) for path in against]
        if stage.bench is not None:
            for questions in stage.bench.questions:
                if graph.makes(job, questions.path):
                    questions.name = questions.name or questions.path
                questions.path = _place(job, run, questions.path)
            if stage.bench.shots_from is not None:
                stage.bench.shots_from = _place(job, run, stage.bench.shots_from)
    return job


def _place(job: AstroJob, run: RunDirectory, path: str) -> str:
    if not graph.makes(job, path):
        return path
    made = job.stage(path).generate
    if made is None:  # the graph's check says so in better words
        return path
    return run.stage(path).storage.path(f"{ARTEFACTS['generate']}/{PRODUCTS[made.kind]}")
