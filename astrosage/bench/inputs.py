"""What a bench stage reads: question sets, examples and held-out texts."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from astrosage.bench import questions
from astrosage.bench.question import Question
from astrosage.bench.shots import Shots
from astrosage.data.sources import read_records
from astrosage.errors import SpecError
from astrosage.spec.bench import BenchSpec, Side

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NamedSet:
    """A question set as it is scored.

    Attributes:
        name: Its name in tables, unique in the stage.
        path: Its file.
        questions: In the file's order.
        role: Inside the field that the model is made for, or outside of it.
    """

    name: str
    path: str
    questions: tuple[Question, ...]
    role: Side = "inside"

    @property
    def has_keys(self) -> bool:
        """Whether it can be scored."""
        return all(q.answer is not None for q in self.questions)


@dataclass(frozen=True, slots=True)
class HeldoutDocument:
    """A held-out text and which side of the field it lies on."""

    text: str
    role: Side


def load_sets(spec: BenchSpec, field: str) -> list[NamedSet]:
    """The stage's question sets, each under a name of its own, examples before their questions.

    Raises:
        NotFoundError, DataError: If a file cannot be used.
        SpecError: If two sets have one name.
    """
    sets: list[NamedSet] = []
    for i, item in enumerate(spec.questions):
        where = f"{field}.questions[{i}]"
        name = item.name or Path(item.path.removesuffix(".gz")).stem
        if name in {s.name for s in sets}:
            raise SpecError(
                f"{where}.name: another question set is called `{name}` too",
                "give each set a `name` of its own",
            )
        found = questions.load(item.path, f"{where}.path", item.layout)[: item.limit]
        slips = [q.id for q in found if q.has_equal_choices]
        if slips:
            log.warning(
                "%s: %d questions have equal options, either of which counts: %s",
                *(item.path, len(slips), ", ".join(slips)),
            )
        sets.append(NamedSet(name, item.path, tuple(found), item.role))
    return _with_shots(spec, field, sets)


def _with_shots(spec: BenchSpec, field: str, sets: Sequence[NamedSet]) -> list[NamedSet]:
    if not spec.shots or spec.shots_from is None:
        return list(sets)
    where = f"{field}.shotsFrom"
    shots = Shots(questions.load(spec.shots_from, where), spec.shots, spec.seed, where)
    shots.refuse_scored(q for s in sets for q in s.questions)
    return [NamedSet(s.name, s.path, tuple(map(shots.before, s.questions)), s.role) for s in sets]


def load_heldout(spec: BenchSpec, field: str) -> Iterator[HeldoutDocument]:
    """The texts that perplexity is measured on.

    Raises:
        SpecError: If the model is a service, whose perplexity cannot be measured.
        NotFoundError, DataError: If a file cannot be used.
    """
    if spec.heldout and spec.endpoint is not None:
        raise SpecError(
            f"{field}.heldout: perplexity is measured on a model directory, not on an endpoint",
            "remove `heldout`, or give `model` instead of `endpoint`",
        )
    for i, source in enumerate(spec.heldout):
        for record in read_records(source, "text", f"{field}.heldout[{i}]"):
            yield HeldoutDocument(record.text, source.role)
