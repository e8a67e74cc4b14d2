"""The question files that a run is judged by, read whole before any text is let through."""

from __future__ import annotations

from astrosage.data.decontaminate import QuestionIndex
from astrosage.data.sources import digests
from astrosage.runs.manifest import digest
from astrosage.spec.bench import Layout
from astrosage.spec.graph import path_of
from astrosage.spec.job import AstroJob
from astrosage.spec.prepare import Decontaminate
from astrosage.spec.stages import BenchSpec, PrepareSpec, Stage


def question_files(job: AstroJob, stage: Stage) -> dict[str, tuple[str, Layout | None]]:
    """``path -> (field, layout)`` of each question file: its own and those of all bench stages."""
    body = stage.body
    assert isinstance(body, PrepareSpec)
    files: dict[str, tuple[str, Layout | None]] = {}
    for i, path in enumerate(body.decontaminate.against):
        field = f"{path_of(job, stage)}.prepare.decontaminate.against[{i}]"
        files.setdefault(path, (field, None))
    for other in job.spec.stages:
        if isinstance(other.body, BenchSpec):
            for i, item in enumerate(other.body.questions):
                field = f"{path_of(job, other)}.bench.questions[{i}].path"
                files.setdefault(item.path, (field, item.layout))
    return files


def build_index(
    job: AstroJob, stage: Stage, options: Decontaminate
) -> tuple[QuestionIndex, list[dict[str, object]]]:
    """Index every question of the run.

    Returns:
        The index, and what it was made of for the report.

    Raises:
        NotFoundError, DataError: If a question file cannot be read; none is ever skipped.
    """
    from astrosage.bench.questions import load

    index = QuestionIndex(options.deciding, options.covering, options.coverage)
    files: list[dict[str, object]] = []
    for path, (field, layout) in question_files(job, stage).items():
        questions = load(path, field, layout)
        index.add(questions, path)
        found = digests(path, field)
        sha256 = found[0][1] if len(found) == 1 else digest([sha for _, sha in found])
        files.append({"path": path, "sha256": sha256, "questions": len(questions)})
    return index, files
