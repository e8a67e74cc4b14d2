"""A run file as its pilot: the same recipe once for each fraction of the corpus, as one run.

The stages that see the corpus, and all that follow from them, are there once a fraction; the others
are there once. A smaller part of the corpus is a part of each larger one, since `prepare.fraction`
chooses by the hash of a record, after cleaning and before packing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from astrosage.errors import SpecError
from astrosage.spec import graph
from astrosage.spec.base import did_you_mean
from astrosage.spec.job import AstroJob
from astrosage.spec.load import parse
from astrosage.spec.stages import BenchSpec, PrepareSpec, Stage, TrainSpec

ANNOTATION = "astrosage.io/pilot"
_LONGEST_NAME = 40
_STEP = re.compile(r"([A-Za-z]+)(?:\[(\d+)\])?")


@dataclass(frozen=True)
class Pilot:
    """How a run's stages belong together.

    Attributes:
        fractions: Of the corpus, ascending, in (0, 1].
        corpus: Prepare stages of the run file that are taken in parts.
        repeated: All stages of the run file that are there once a fraction, those included.
    """

    fractions: tuple[float, ...]
    corpus: tuple[str, ...]
    repeated: tuple[str, ...]

    def to_annotation(self) -> str:
        """As the job carries it."""
        return json.dumps(
            {
                "fractions": list(self.fractions),
                "corpus": list(self.corpus),
                "repeated": list(self.repeated),
            }
        )

    @classmethod
    def of(cls, job: AstroJob) -> Pilot | None:
        """The pilot that a job is; None if it is none."""
        text = job.metadata.annotations.get(ANNOTATION)
        if text is None:
            return None
        try:
            data = json.loads(text)
            return cls(
                tuple(float(f) for f in data["fractions"]),
                tuple(map(str, data["corpus"])),
                tuple(map(str, data["repeated"])),
            )
        except (ValueError, KeyError, TypeError):
            raise SpecError(
                f"metadata.annotations: {ANNOTATION} is not what `astroctl pilot` writes",
                "make the run with `astroctl pilot`, or remove the annotation",
            ) from None


def stage_name(stage: str, fraction: float) -> str:
    """What a stage is called where it runs on a part of the corpus: ``cpt-3pct``, ``cpt-0-5pct``.

    On the whole corpus it keeps its name.
    """
    if fraction == 1.0:
        return stage
    return f"{stage}-{100 * fraction:.6g}pct".replace(".", "-").replace("e-0", "e-")


def fractions_of(text: str) -> tuple[float, ...]:
    """``0.03,0.1,0.3,1`` as numbers, ascending.

    Raises:
        SpecError: Naming the part that is not in (0, 1] or is there twice.
    """
    found: list[float] = []
    for part in text.split(","):
        try:
            value = float(part)
        except ValueError:
            value = -1.0
        if not 1e-6 <= value <= 1.0:
            raise SpecError(
                f"--fractions: `{part.strip()}` is no part of a corpus",
                "numbers above 0 and at most 1, such as 0.03,0.1,0.3,1",
            )
        if value in found:
            raise SpecError(f"--fractions: {value:g} is there twice", "remove one")
        found.append(value)
    if len(found) < 2:
        raise SpecError(
            "--fractions: one fraction makes no curve", "at least two; a curve to trust needs four"
        )
    return tuple(sorted(found))


def expand(
    job: AstroJob,
    fractions: Sequence[float],
    corpus: Sequence[str] = (),
    name: str | None = None,
) -> AstroJob:
    """The pilot of a job.

    Args:
        job: The recipe.
        fractions: As :func:`fractions_of` gives them.
        corpus: Prepare stages that are taken in parts; default: those that continued pre-training
            learns from, or if there are none, all that a training learns from.
        name: The pilot's name; default: the recipe's with ``-pilot``.

    Raises:
        SpecError: If a stage of ``corpus`` is no prepare stage, nothing trains on it, or a name
            becomes too long.
    """
    chosen = tuple(corpus) or _corpus(job)
    _check_corpus(job, chosen)
    repeated = _following(job, chosen)
    if not any(s.kind == "train" and s.name in repeated for s in job.spec.stages):
        raise SpecError(
            f"no stage trains on {', '.join(chosen)}", "name another prepare stage with --corpus"
        )
    pilot = Pilot(tuple(fractions), chosen, tuple(repeated))
    data = job.to_yaml_dict()
    stages: list[dict[str, Any]] = []
    for stage, plain in zip(job.spec.stages, data["spec"]["stages"], strict=True):
        if stage.name not in repeated:
            stages.append(plain)
            continue
        stages += [_copy(job, stage, pilot, fraction) for fraction in pilot.fractions]
    data["spec"]["stages"] = stages
    data["metadata"]["name"] = name or f"{job.metadata.name}-pilot"
    annotations = {**job.metadata.annotations, ANNOTATION: pilot.to_annotation()}
    data["metadata"]["annotations"] = annotations
    return parse(data, source="the pilot")


def _corpus(job: AstroJob) -> tuple[str, ...]:
    trained = [s.body for s in job.spec.stages if isinstance(s.body, TrainSpec)]
    names = [b.data for b in trained if b.objective == "cpt"] or [b.data for b in trained]
    if not names:
        raise SpecError("the run file trains nothing", "a pilot needs a train stage")
    return tuple(dict.fromkeys(names))


def _check_corpus(job: AstroJob, names: Iterable[str]) -> None:
    known = [s.name for s in job.spec.stages if s.kind == "prepare"]
    for name in names:
        if name not in known:
            raise SpecError(
                f"--corpus: the run file has no prepare stage `{name}`", did_you_mean(name, known)
            )


def _following(job: AstroJob, names: Iterable[str]) -> list[str]:
    """The stages and all that use what they make, in the file's order."""
    found = set(names)
    for stage in graph.order(job):  # inputs come first
        if found.intersection(graph.dependencies(job, stage)):
            found.add(stage.name)
    return [s.name for s in job.spec.stages if s.name in found]


def _copy(job: AstroJob, stage: Stage, pilot: Pilot, fraction: float) -> dict[str, Any]:
    """A stage as it runs on a part of the corpus, as plain data."""
    plain: dict[str, Any] = stage.to_yaml_dict()
    plain["name"] = stage_name(stage.name, fraction)
    if len(plain["name"]) > _LONGEST_NAME:
        raise SpecError(
            f"{graph.path_of(job, stage)}.name: `{plain['name']}` would be longer than "
            f"{_LONGEST_NAME} characters",
            f"give stage `{stage.name}` a shorter name",
        )
    for reference in graph.references(job, stage):
        if reference.value in pilot.repeated:
            _set(plain, reference.field, stage_name(reference.value, fraction))
    body = stage.body
    if isinstance(body, PrepareSpec) and stage.name in pilot.corpus:
        part = fraction * (body.fraction or 1.0)
        if part < 1.0:
            plain["prepare"]["fraction"] = part
    elif isinstance(body, TrainSpec) and body.max_steps and body.data in pilot.repeated:
        plain["train"]["maxSteps"] = max(1, round(body.max_steps * fraction))
    elif isinstance(body, BenchSpec) and fraction != pilot.fractions[-1]:
        _without_baseline(plain["bench"], body, pilot)
    return plain


def _without_baseline(plain: dict[str, Any], body: BenchSpec, pilot: Pilot) -> None:
    """A baseline that is the same for all parts is scored once, with the largest."""
    if body.baseline is not None and body.baseline not in pilot.repeated:
        plain.pop("baseline", None)
        plain.pop("gate", None)


def _set(plain: dict[str, Any], path: str, value: str) -> None:
    """Set a field such as ``merge.models[0].model`` of plain data."""
    *way, last = path.split(".")
    at: Any = plain
    for step in way:
        at = _into(at, step)
    found = _STEP.fullmatch(last)
    assert found is not None
    if found[2] is None:
        at[found[1]] = value
    else:
        at[found[1]][int(found[2])] = value


def _into(at: Any, step: str) -> Any:
    found = _STEP.fullmatch(step)
    assert found is not None
    inner = at[found[1]]
    return inner if found[2] is None else inner[int(found[2])]
