"""A stage of a run: a name and one of prepare, generate, train, merge, bench."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from astrosage.spec.base import SpecModel
from astrosage.spec.bench import OPERATIONAL as BENCH_OPERATIONAL
from astrosage.spec.bench import BenchSpec, QuestionSet
from astrosage.spec.cluster import Cluster
from astrosage.spec.endpoint import Endpoint
from astrosage.spec.generate import GenerateSpec
from astrosage.spec.kubernetes import rule, rules
from astrosage.spec.merge import MergeSpec
from astrosage.spec.prepare import PrepareSpec, Source
from astrosage.spec.train import OPERATIONAL, CheckpointSpec, TrainSpec, Zero

StageName = Annotated[
    str,
    Field(
        pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$",
        max_length=40,
        description="Lower-case letters, digits and '-', starting with a letter.",
    ),
]

__all__ = [
    "BenchSpec",
    "CheckpointSpec",
    "GenerateSpec",
    "MergeSpec",
    "PrepareSpec",
    "QuestionSet",
    "Source",
    "Stage",
    "StageName",
    "TrainSpec",
    "Zero",
]


class Stage(SpecModel):
    """One step of the run: a name and exactly one of prepare, generate, train, merge, bench."""

    model_config = rules(
        rule(
            "[has(self.prepare), has(self.generate), has(self.train), has(self.merge), "
            "has(self.bench)].filter(x, x).size() == 1",
            "a stage has exactly one of prepare, generate, train, merge, bench",
        )
    )

    name: StageName
    prepare: PrepareSpec | None = None
    """Texts or chats to token shards."""
    generate: GenerateSpec | None = None
    """Passages to question-answer pairs or benchmark questions, written by a served model."""
    train: TrainSpec | None = None
    """Continued pre-training or fine-tuning."""
    merge: MergeSpec | None = None
    """Combine models."""
    bench: BenchSpec | None = None
    """Score a model."""
    cluster: Cluster | None = None
    """A cluster of its own, instead of the run's; consecutive stages with equal clusters share
    one."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Stage:
        given = [k for k in KINDS if getattr(self, k) is not None]
        if len(given) != 1:
            raise PydanticCustomError(
                "one_kind",
                "a stage has exactly one of prepare, generate, train, merge, bench; found {found}",
                {"found": ", ".join(given) or "none"},
            )
        return self

    @property
    def kind(self) -> str:
        """`prepare`, `generate`, `train`, `merge` or `bench`."""
        return next(k for k in KINDS if getattr(self, k) is not None)

    def identity(self) -> dict[str, Any]:
        """The part of the spec that the stage's result depends on, as plain data."""
        body = self.body
        left_out: Any = set(OPERATIONAL) if isinstance(body, TrainSpec) else None
        if isinstance(body, BenchSpec):
            left_out = BENCH_OPERATIONAL
        elif isinstance(body, GenerateSpec):
            left_out = body.left_out
        return body.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=left_out)

    @property
    def endpoints(self) -> list[Endpoint]:
        """The services that the stage asks."""
        found: list[Endpoint | None] = []
        if self.bench is not None:
            found = [self.bench.endpoint]
        elif self.generate is not None:
            found = [self.generate.writer, self.generate.grader]
        return [endpoint for endpoint in found if endpoint is not None]

    @property
    def body(self) -> PrepareSpec | GenerateSpec | TrainSpec | MergeSpec | BenchSpec:
        """The kind's own spec."""
        body = getattr(self, self.kind)
        assert isinstance(body, PrepareSpec | GenerateSpec | TrainSpec | MergeSpec | BenchSpec)
        return body


KINDS = ("prepare", "generate", "train", "merge", "bench")
