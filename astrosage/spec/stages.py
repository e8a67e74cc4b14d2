"""What each kind of stage may be told: prepare, train, merge, bench."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from astrosage.spec.base import SpecModel
from astrosage.spec.cluster import Cluster, PositiveInt
from astrosage.spec.kubernetes import rule, rules
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
    "MergeSpec",
    "PrepareSpec",
    "QuestionSet",
    "Source",
    "Stage",
    "StageName",
    "TrainSpec",
    "Zero",
]


class Source(SpecModel):
    """Text or chat files."""

    path: str = Field(min_length=1)
    """Path, glob or URI. Relative paths are relative to the run file."""
    weight: Annotated[float, Field(gt=0.0)] = 1.0
    """How often each record is seen an epoch: 2 doubles a source, 0.5 takes half of it."""
    text_field: str = "text"
    """The field of JSONL records that holds the text (`format: text` only)."""
    license: str | None = None
    """SPDX name or words; recorded in the lineage."""


class Pack(SpecModel):
    """How tokens become fixed-length training sequences."""

    sequence_length: Annotated[int, Field(ge=16, le=1_048_576)] = 512
    """Tokens in a training sequence; at most what the model's positions allow."""


class Decontaminate(SpecModel):
    """Keep evaluation questions out of the training data."""

    enabled: bool = True
    """Off only on purpose; the lineage records it."""
    against: list[str] = []
    """Question files; those of the run's bench stages are always added."""
    ngram: Annotated[int, Field(ge=5, le=50)] = 13
    """Words in a row that count as contamination when a text shares them with a question (a
    shorter question counts when it stands whole)."""
    action: Literal["remove", "fail"] = "remove"
    """`remove` drops the paragraph (texts); a chat record that holds a question always fails."""


class Validation(SpecModel):
    """Records held out from training, for the validation loss."""

    sources: list[Source] = []
    """Held-out files of their own."""
    fraction: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    """Or a share of the records, chosen by hash, so that it stays the same when data is added."""


class PrepareSpec(SpecModel):
    """Texts or chats to packed token shards."""

    sources: list[Source] = Field(min_length=1)
    """What to read; at least one."""
    format: Literal["text", "chat"] = "text"
    """`text`: documents for continued pre-training. `chat`: JSONL records with `messages`, rendered
    with the model's chat template, loss on assistant tokens only."""
    model: str | None = None
    """The model whose tokenizer is used; default: the run's `spec.model`."""
    pack: Pack = Pack()
    """Packing options."""
    deduplicate: bool = True
    """Drop records that are equal after white space and case are folded."""
    decontaminate: Decontaminate = Decontaminate()
    """On by default."""
    validation: Validation = Validation()
    """Held-out records."""
    seed: int = 0
    """Seeds sampling by weight."""


class MergeModel(SpecModel):
    """One donor of a merge."""

    model: str
    """A stage, alias, path or hub id."""
    weight: float = 1.0
    """Its share."""
    density: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Share of its difference from the base that is kept (ties, dare_ties)."""


class MergeSpec(SpecModel):
    """Combine models of one architecture."""

    model_config = rules(
        rule(
            "(self.method == 'linear') != has(self.base)", "base belongs to every method but linear"
        ),
        rule(
            "self.method != 'slerp' || size(self.models) == 1",
            "slerp joins base and exactly one model",
        ),
    )

    method: Literal["linear", "slerp", "ties", "dare_ties"] = "linear"
    """TIES: Yadav et al. 2023; DARE: Yu et al. 2024."""
    base: str | None = None
    """What differences are taken from (ties, dare_ties), or the first end (slerp)."""
    models: list[MergeModel] = Field(min_length=1, max_length=64)
    """The donors."""
    normalize: bool = True
    """Divide by the sum of the weights, for ties and dare_ties by that of the donors which agree in
    sign; a single such donor's weight then cancels out, and `false` keeps it."""
    seed: int = 0
    """Seeds DARE's random drops."""

    @model_validator(mode="after")
    def _base_where_needed(self) -> MergeSpec:
        if self.method != "linear" and self.base is None:
            raise PydanticCustomError(
                "base_needed", "method `{method}` needs `base`", {"method": self.method}
            )
        if self.method == "linear" and self.base is not None:
            raise PydanticCustomError(
                "no_base", "method `linear` has no `base`; list it under `models` with its weight"
            )
        return self

    @model_validator(mode="after")
    def _weights_that_work(self) -> MergeSpec:
        if self.method == "slerp" and len(self.models) != 1:
            raise PydanticCustomError(
                "slerp_models",
                "slerp joins `base` and exactly one model, found {n}",
                {"n": len(self.models)},
            )
        if self.method == "slerp" and not 0 <= self.models[0].weight <= 1:
            raise PydanticCustomError(
                "slerp_weight",
                "slerp's weight says how far from `base` to go, 0 to 1; found {w}",
                {"w": self.models[0].weight},
            )
        if self.method == "linear" and self.normalize and sum(m.weight for m in self.models) == 0:
            raise PydanticCustomError(
                "weights", "the weights sum to 0 and cannot be normalized; set `normalize: false`"
            )
        return self


class QuestionSet(SpecModel):
    """A file of multiple-choice questions with keys."""

    path: str = Field(min_length=1)
    """JSONL: `id, question, choices, answer` and, if known, `topic, explanation`."""
    name: str | None = None
    """Name in tables; default: the file's name."""
    limit: PositiveInt | None = None
    """Take only the first so many questions."""


class Endpoint(SpecModel):
    """An OpenAI-compatible service."""

    url: str = Field(pattern=r"^https?://")
    """Base URL that ends in /v1."""
    model: str
    """The model's name there."""
    api_key_env: str | None = None
    """Environment variable that holds the key (never the key itself)."""


class Generation(SpecModel):
    """How answers are generated for scoring."""

    max_new_tokens: PositiveInt = 8
    """Tokens an answer may have."""


BenchMethod = Literal["likelihood", "generation"]


class BenchSpec(SpecModel):
    """Score a model on multiple-choice questions, against a baseline."""

    model_config = rules(
        rule("has(self.model) != has(self.endpoint)", "give exactly one of model and endpoint")
    )

    model: str | None = None
    """A stage, alias, path or hub id. This or `endpoint`."""
    endpoint: Endpoint | None = None
    """A served model instead."""
    baseline: str | None = None
    """A stage, alias, path or hub id to compare with, question by question."""
    questions: list[QuestionSet] = Field(min_length=1)
    """Question sets."""
    methods: list[BenchMethod] | None = Field(default=None, min_length=1)
    """`likelihood` of each option, `generation` of an answer; default: both, for an endpoint
    generation only."""
    heldout: list[Source] = []
    """Held-out texts for perplexity."""
    generation: Generation = Generation()
    """Generation options."""
    batch_size: PositiveInt = 16
    """Questions computed at once by each worker."""
    seed: int = 0
    """Seeds sampling; scoring itself is greedy."""

    @model_validator(mode="after")
    def _model_or_endpoint(self) -> BenchSpec:
        if (self.model is None) == (self.endpoint is None):
            raise PydanticCustomError("exclusive", "give exactly one of `model` and `endpoint`")
        return self


class Stage(SpecModel):
    """One step of the run: a name and exactly one of prepare, train, merge, bench."""

    model_config = rules(
        rule(
            "[has(self.prepare), has(self.train), has(self.merge), has(self.bench)]"
            ".filter(x, x).size() == 1",
            "a stage has exactly one of prepare, train, merge, bench",
        )
    )

    name: StageName
    prepare: PrepareSpec | None = None
    """Texts or chats to token shards."""
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
                "a stage has exactly one of prepare, train, merge, bench; found {found}",
                {"found": ", ".join(given) or "none"},
            )
        return self

    @property
    def kind(self) -> str:
        """`prepare`, `train`, `merge` or `bench`."""
        return next(k for k in KINDS if getattr(self, k) is not None)

    def identity(self) -> dict[str, Any]:
        """The part of the spec that the stage's result depends on, as plain data."""
        body = self.body
        left_out = OPERATIONAL if isinstance(body, TrainSpec) else ()
        return body.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=set(left_out))

    @property
    def body(self) -> PrepareSpec | TrainSpec | MergeSpec | BenchSpec:
        """The kind's own spec."""
        body = getattr(self, self.kind)
        assert isinstance(body, PrepareSpec | TrainSpec | MergeSpec | BenchSpec)
        return body


KINDS = ("prepare", "train", "merge", "bench")
