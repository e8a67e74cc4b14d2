"""The stage graph: who needs whom, checked before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from astrosage.errors import SpecError
from astrosage.spec.base import did_you_mean, nearest
from astrosage.spec.job import AstroJob
from astrosage.spec.stages import (
    BenchSpec,
    GenerateSpec,
    MergeSpec,
    PrepareSpec,
    Stage,
    TrainSpec,
)

MODEL_KINDS = ("train", "merge")
_MAKERS = {
    "model": MODEL_KINDS,
    "data": ("prepare",),
    "chat": ("generate",),
    "questions": ("generate",),
}


@dataclass(frozen=True)
class Reference:
    """One input of a stage: the field that names it and what it must be."""

    field: str
    value: str
    wants: str  # "model", "data", or what a generate stage makes: "chat" or "questions"


def references(job: AstroJob, stage: Stage) -> Iterator[Reference]:
    """Every model or data set that a stage names, defaults filled in."""
    body = stage.body
    if isinstance(body, PrepareSpec):
        yield Reference("prepare.model", body.model or job.spec.model, "model")
        for i, name in enumerate(body.deduplication.against):
            if is_stage_name(name):
                yield Reference(f"prepare.deduplicate.against[{i}]", name, "data")
        for field, path in _texts(body):
            if makes(job, path):
                yield Reference(field, path, "chat")
        if body.decontaminate.enabled:
            yield from _judged_by(job, "prepare.decontaminate", body.decontaminate.against)
    elif isinstance(body, GenerateSpec):
        if body.kind == "chat" and body.decontaminate:
            judged = _judged_by(job, "generate.decontaminate", [])
            yield from (ref for ref in judged if ref.value != stage.name)
    elif isinstance(body, TrainSpec):
        yield Reference("train.model", body.model or job.spec.model, "model")
        yield Reference("train.data", body.data, "data")
    elif isinstance(body, MergeSpec):
        if body.base is not None:
            yield Reference("merge.base", body.base, "model")
        for i, donor in enumerate(body.models):
            yield Reference(f"merge.models[{i}].model", donor.model, "model")
    elif isinstance(body, BenchSpec):
        if body.model is not None:
            yield Reference("bench.model", body.model, "model")
        if body.baseline is not None:
            yield Reference("bench.baseline", body.baseline, "model")
        for field, path in _questions(body):
            if makes(job, path):
                yield Reference(field, path, "questions")


def _texts(body: PrepareSpec) -> Iterator[tuple[str, str]]:
    """``(field, path)`` of a prepare stage's sources."""
    for group, sources in (("", body.sources), ("validation.", body.validation.sources)):
        for i, source in enumerate(sources):
            yield f"prepare.{group}sources[{i}].path", source.path


def _questions(body: BenchSpec) -> Iterator[tuple[str, str]]:
    """``(field, path)`` of a bench stage's question files."""
    for i, questions in enumerate(body.questions):
        yield f"bench.questions[{i}].path", questions.path
    if body.shots_from is not None:
        yield "bench.shotsFrom", body.shots_from


def _judged_by(job: AstroJob, field: str, against: Iterable[str]) -> Iterator[Reference]:
    """Generate stages whose questions the run is judged by, which are made before what is kept
    apart from them."""
    sets = [q.path for s in job.spec.stages if s.bench is not None for q in s.bench.questions]
    for path in dict.fromkeys([*against, *sets]):
        if makes(job, path):
            yield Reference(field, path, "questions")


def makes(job: AstroJob, path: str) -> bool:
    """Whether a path of texts or questions is the name of a stage of the run."""
    return is_stage_name(path) and any(stage.name == path for stage in job.spec.stages)


def is_stage_name(value: str) -> bool:
    """Whether a value can only be meant as a stage: it is no path and no URI."""
    return not any(c in value for c in "/.~:")


def dependencies(job: AstroJob, stage: Stage) -> list[str]:
    """Names of the stages whose output this stage uses."""
    names = {s.name for s in job.spec.stages}
    return [r.value for r in dict.fromkeys(references(job, stage)) if r.value in names]


def external_models(job: AstroJob, stages: Iterable[Stage]) -> list[tuple[str, str]]:
    """``(field path, reference)`` of every model that no stage of this run makes."""
    names = {s.name for s in job.spec.stages}
    found: dict[str, str] = {}
    for stage in stages:
        for ref in references(job, stage):
            if ref.wants == "model" and ref.value not in names:
                named = f"{path_of(job, stage)}.{ref.field}"
                is_base = ref.value == job.spec.model
                found.setdefault(ref.value, "spec.model" if is_base else named)
    return [(path, value) for value, path in found.items()]


def path_of(job: AstroJob, stage: Stage) -> str:
    """Where a stage stands in the run file, such as ``spec.stages[2]``."""
    return f"spec.stages[{job.spec.stages.index(stage)}]"


def check(job: AstroJob) -> None:
    """Refuse duplicate names, references of the wrong kind, unknown names and cycles.

    A model reference that is no stage is an alias, path or hub id and is checked by the
    preflight; a name that nearly equals a stage is refused here, since it is surely meant.

    Raises:
        SpecError: Naming the field, what was found and the nearest valid name.
    """
    by_name: dict[str, Stage] = {}
    for stage in job.spec.stages:
        if stage.name in by_name:
            raise SpecError(
                f"{path_of(job, stage)}.name: the name `{stage.name}` is taken by another stage",
                "give each stage a name of its own",
            )
        by_name[stage.name] = stage
    for stage in job.spec.stages:
        for ref in references(job, stage):
            _check_reference(job, stage, ref, by_name)
        _check_misspelt(job, stage)
    order(job)


def _check_misspelt(job: AstroJob, stage: Stage) -> None:
    """Refuse a path that can only be meant as a generate stage whose name it nearly is."""
    body, makers = stage.body, [s.name for s in job.spec.stages if s.generate is not None]
    paths: Iterable[tuple[str, str]] = ()
    if isinstance(body, PrepareSpec) and body.format == "chat":
        paths = _texts(body)
    elif isinstance(body, BenchSpec):
        paths = _questions(body)
    for field, path in paths:
        if is_stage_name(path) and not makes(job, path) and nearest(path, makers) is not None:
            raise SpecError(
                f"{path_of(job, stage)}.{field}: there is no stage `{path}`",
                f"{did_you_mean(path, makers)}; a file of that name is written `./{path}`",
            )


def _check_reference(
    job: AstroJob, stage: Stage, ref: Reference, by_name: dict[str, Stage]
) -> None:
    where = f"{path_of(job, stage)}.{ref.field}"
    kinds = _MAKERS[ref.wants]
    fitting = [s.name for s in job.spec.stages if s.kind in kinds and s is not stage]
    target = by_name.get(ref.value)
    if target is None:
        looks_like_name = is_stage_name(ref.value)
        near = nearest(ref.value, fitting)
        if ref.wants == "data" or (looks_like_name and near and near != ref.value):
            raise SpecError(
                f"{where}: there is no stage `{ref.value}`", did_you_mean(ref.value, fitting)
            )
    elif target is stage:
        raise SpecError(
            f"{where}: stage `{stage.name}` names itself", f"name one of: {', '.join(fitting)}"
        )
    elif target.kind not in kinds:
        raise SpecError(
            f"{where}: stage `{ref.value}` is a {target.kind} stage, a {' or '.join(kinds)} "
            f"stage is needed",
            "allowed: " + (", ".join(fitting) or "none in this file"),
        )
    else:
        _check_product(stage, ref, target, where)


def _check_product(stage: Stage, ref: Reference, target: Stage, where: str) -> None:
    """Refuse what a generate stage makes where the other kind is needed."""
    made = target.generate
    if made is None:
        return
    if made.kind != ref.wants:
        questions = ref.wants == "questions"
        raise SpecError(
            f"{where}: stage `{target.name}` makes {made.kind}, {ref.wants} is needed",
            "a bench stage takes `generate` stages of `kind: questions`"
            if questions
            else "nothing is trained on benchmark questions: name a stage of `kind: chat`",
        )
    if stage.prepare is not None and ref.wants == "chat" and stage.prepare.format != "chat":
        raise SpecError(
            f"{where}: stage `{target.name}` makes chats, but `prepare.format` is text",
            f"set `format: chat` in stage `{stage.name}`",
        )


def order(job: AstroJob) -> list[Stage]:
    """Stages so that each comes after what it needs; the file's order otherwise.

    Raises:
        SpecError: If stages need each other in a circle.
    """
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for stage in job.spec.stages:
        sorter.add(stage.name, *dependencies(job, stage))
    try:
        sorter.prepare()
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise SpecError(
            f"spec.stages: stages need each other in a circle: {circle}",
            "let one of them start from a base model or from data instead",
        ) from None
    position = {stage.name: i for i, stage in enumerate(job.spec.stages)}
    ordered: list[Stage] = []
    while sorter.is_active():
        for name in sorted(sorter.get_ready(), key=position.__getitem__):
            ordered.append(job.stage(name))
            sorter.done(name)
    return ordered


def needed_for(job: AstroJob, targets: Iterable[str]) -> list[Stage]:
    """The named stages and all that they need, in running order."""
    wanted: set[str] = set()
    queue = list(targets)
    while queue:
        name = queue.pop()
        if name not in wanted:
            wanted.add(name)
            queue += dependencies(job, job.stage(name))
    return [s for s in order(job) if s.name in wanted]


def select(
    job: AstroJob, kind: str = "train", until: str | None = None, only: str | None = None
) -> list[Stage]:
    """The stages that ``submit KIND`` runs.

    ``train`` takes training and merging, what they need, and every bench of a model that the run
    makes; other kinds take their stages and what those need. ``until`` ends at a stage, ``only``
    takes one stage whose inputs must be there already.

    Raises:
        SpecError: If the file has no stage of the kind, or no stage of the given name.
    """
    names = [s.name for s in job.spec.stages]
    for flag, value in (("--until", until), ("--only", only)):
        if value is not None and value not in names:
            raise SpecError(
                f"{flag}: the run file has no stage `{value}`", did_you_mean(value, names)
            )
    if only is not None:
        return [job.stage(only)]
    if until is not None:
        return needed_for(job, [until])
    kinds = (*MODEL_KINDS, "bench") if kind == "train" else (kind,)
    chosen = [s.name for s in job.spec.stages if s.kind in kinds]
    if not any(job.stage(n).kind == kind for n in chosen):
        raise SpecError(
            f"the run file has no {kind} stage",
            f"its stages: {', '.join(f'{s.name} ({s.kind})' for s in job.spec.stages)}",
        )
    return needed_for(job, chosen)
