"""What a run tells of a model that it made."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from astroctl.cli.closing import METHODS, accuracy, summaries
from astrosage.runs.directory import RunDirectory
from astrosage.spec import graph
from astrosage.spec.job import AstroJob


def card_of(directory: RunDirectory, job: AstroJob, stage: str) -> dict[str, Any]:
    """Its base, the stages that led to it, and its scores.

    Args:
        directory: The run's.
        job: The run.
        stage: Which made the model.
    """
    card: dict[str, Any] = {"base": job.spec.model, "lineage": _lineage(job, stage)}
    scores: list[dict[str, str]] = []
    for summary in summaries(directory).values():
        if summary.get("model") == stage:
            with contextlib.suppress(KeyError, TypeError):  # a summary of another version
                scores += _scores(summary)
    return {**card, "scores": scores} if scores else card


def _lineage(job: AstroJob, stage: str) -> list[str]:
    """The model stages from the base to this one, in order, each with what it did."""
    steps = []
    for made in graph.order(job):
        if made.kind in graph.MODEL_KINDS:
            what = made.train.objective if made.train else made.kind
            steps.append(made.name if made.name == what else f"{made.name} ({what})")
        if made.name == stage:
            break
    return steps


def _scores(summary: dict[str, Any]) -> Iterator[dict[str, str]]:
    for item in summary.get("sets", []):
        for method, result in item["methods"].items():
            score = {
                "name": f"{item['name']} ({item['questions']}), {METHODS.get(method, method)}",
                "value": accuracy(result["model"]),
            }
            if base := result.get("baseline"):
                score["baseline"] = accuracy(base)
            yield score
