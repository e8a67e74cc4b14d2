"""How two jobs differ, field by field, and what of a run the difference leaves standing."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from astrosage.errors import ConflictError
from astrosage.spec import graph
from astrosage.spec.changes import Change, differences, listed
from astrosage.spec.job import AstroJob
from astrosage.spec.stages import BenchSpec, PrepareSpec, Stage


def changes(old: AstroJob, new: AstroJob) -> list[Change]:
    """What differs between the specs of two jobs, in the order of the fields."""
    return differences(old.to_yaml_dict()["spec"], new.to_yaml_dict()["spec"], "spec")


def kept(old: AstroJob, new: AstroJob, finished: Collection[str]) -> list[str]:
    """Finished stages that a fork with the new job takes over, as far as the job files tell.

    The driver compares the content of what a stage read as well.
    """
    names = {s.name for s in old.spec.stages}
    same: list[str] = []
    for stage in graph.order(new):
        if stage.name not in names or stage.name not in finished:
            continue
        before = old.stage(stage.name)
        inputs = graph.dependencies(new, stage)
        if _identity(old, before) == _identity(new, stage) and set(inputs) <= set(same):
            same.append(stage.name)
    return same


def refusal(old: AstroJob, new: AstroJob, finished: Collection[str], place: str) -> ConflictError:
    """What to say where a run of that name was made with another spec.

    Args:
        old: The run's job.
        new: The one submitted now.
        finished: Stages of the run that are finished.
        place: Where the run is, in words.
    """
    name, found = old.metadata.name, changes(old, new)
    taken = kept(old, new, finished)
    again = [s.name for s in graph.order(new) if s.name not in taken]
    fork = (
        "`--fork NEW` makes a new run that takes over "
        f"{', '.join(taken) or 'nothing'} and runs {', '.join(again) or 'nothing'}"
    )
    if all(change.is_around for change in found):
        way = f"go on with it, changes and all: `astroctl resume {name} -f FILE`; or {fork}"
    else:
        way = f"{fork}; to go on without the changes: `astroctl resume {name}`"
    return ConflictError(
        f"metadata.name: a run `{name}` exists already in {place}, with another spec:"
        f"{listed(found)}",
        way,
    )


def _identity(job: AstroJob, stage: Stage) -> list[Any]:
    """What a stage's result depends on, as far as the job file says it."""
    judged: list[Any] = []
    if isinstance(stage.body, PrepareSpec) and stage.body.decontaminate.enabled:
        benches = [s.body for s in job.spec.stages if isinstance(s.body, BenchSpec)]
        judged = sorted({q.path for b in benches for q in b.questions})
    references = [[r.field, r.value] for r in graph.references(job, stage)]
    return [stage.kind, stage.identity(), references, judged]
