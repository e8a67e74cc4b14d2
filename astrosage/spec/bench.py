"""What a bench stage may be told."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from astrosage.spec.base import SpecModel
from astrosage.spec.cluster import PositiveInt
from astrosage.spec.endpoint import OPERATIONAL as ENDPOINT_OPERATIONAL
from astrosage.spec.endpoint import Budget, Endpoint, Prices, around
from astrosage.spec.kubernetes import rule, rules
from astrosage.spec.prepare import Source

__all__ = [
    "AROUND",
    "OPERATIONAL",
    "BenchMethod",
    "BenchSpec",
    "Budget",
    "Endpoint",
    "Gate",
    "Generation",
    "HeldoutText",
    "Layout",
    "Prices",
    "QuestionSet",
    "Side",
]

Layout = Literal["astrosage", "astromlab", "astro-qa", "mmlu"]
Side = Literal["inside", "outside"]


class QuestionSet(SpecModel):
    """A file of multiple-choice questions, with keys or without."""

    path: str = Field(min_length=1)
    """JSONL or CSV (each also `.gz`) or Parquet: `id, question, choices, answer` and, if known,
    `topic, year, explanation, article`; or another layout. Or the `generate` stage of
    `kind: questions` that writes them."""
    layout: Layout | None = None
    """What the columns mean; default: recognised by their names. `astromlab` has one column an
    option and may have no keys: its answers are written to predictions.jsonl and not scored."""
    name: str | None = None
    """Name in tables; default: the file's name."""
    limit: PositiveInt | None = None
    """Take only the first so many questions."""
    role: Side = "inside"
    """`inside` the field that the model is made for, or `outside` of it: with a baseline, what is
    gained inside is shown next to what is lost outside."""


class HeldoutText(Source):
    """Held-out texts for perplexity."""

    role: Side = "inside"
    """`inside` the field that the model is made for, or `outside` of it."""


class Generation(SpecModel):
    """How answers are generated for scoring."""

    max_new_tokens: PositiveInt = 8
    """Tokens an answer may have, its reasoning included."""
    reasoning: Literal["on", "off"] | None = None
    """Ask the model to think first, or not to: the system message `Reasoning: on|off`, for a
    service the field `reasoning`. Default: neither is asked."""


BenchMethod = Literal["likelihood", "letter", "generation"]


class Gate(SpecModel):
    """When `astroctl promote` lets the model take the place of its baseline on an endpoint."""

    margin: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.01
    """Share of accuracy that may be lost: the 95 % interval of the paired difference must not reach
    below minus this."""
    sets: list[str] = []
    """Names of the question sets that decide; default: all."""
    method: Literal["likelihood", "likelihood_normalized", "letter", "generation"] | None = None
    """How they are scored; default: each set's main method."""


# What may change without a stage's result changing: how fast and how far a service is asked, and
# what is made of the scores.
OPERATIONAL: dict[str, Any] = {
    "gate": True,
    "budget": True,
    "endpoint": dict.fromkeys(ENDPOINT_OPERATIONAL, True),
}
# The fields of a run that goes on which may change: those, and prices (answers are kept).
AROUND = ("bench.gate", "bench.budget", *around("bench.endpoint"))


class BenchSpec(SpecModel):
    """Score a model on multiple-choice questions, against a baseline."""

    model_config = rules(
        rule("has(self.model) != has(self.endpoint)", "give exactly one of model and endpoint"),
        rule(
            "(has(self.shots) && self.shots > 0) == has(self.shotsFrom)",
            "shots and shotsFrom belong together",
        ),
        rule("!has(self.budget) || has(self.endpoint)", "budget belongs to an endpoint"),
        rule(
            "!has(self.budget) || !has(self.budget.usd) || "
            "(has(self.endpoint) && has(self.endpoint.prices))",
            "budget.usd needs endpoint.prices",
        ),
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
    """`likelihood` of each option, of its `letter` after all options were shown, `generation` of
    an answer; default: likelihood and generation, for an endpoint generation only."""
    shots: Annotated[int, Field(ge=0, le=64)] = 0
    """Solved examples before each question, the same for all questions of a topic."""
    shots_from: str | None = Field(default=None, min_length=1)
    """Question file that the examples are drawn from by `seed`; it shares no question with those
    that are scored. Where it has enough of a question's own topic, examples are of that topic."""
    shuffles: Annotated[int, Field(ge=0, le=100)] = 0
    """Ask again with so many other orders of the options (`letter`, `generation`): whether the
    model chooses the option or the letter."""
    heldout: list[HeldoutText] = []
    """Held-out texts for perplexity."""
    generation: Generation = Generation()
    """Generation options."""
    budget: Budget | None = None
    """When to stop asking a service; default: never."""
    gate: Gate = Gate()
    """What `astroctl promote` asks of the model."""
    batch_size: PositiveInt = 16
    """Questions computed at once by each worker."""
    seed: int = 0
    """Seeds the choice of examples and the orders of options; scoring itself is greedy."""

    @model_validator(mode="after")
    def _model_or_endpoint(self) -> BenchSpec:
        if (self.model is None) == (self.endpoint is None):
            raise PydanticCustomError("exclusive", "give exactly one of `model` and `endpoint`")
        return self

    @model_validator(mode="after")
    def _shots_with_their_file(self) -> BenchSpec:
        if self.shots and self.shots_from is None:
            raise PydanticCustomError(
                "shots_from",
                "`shots: {n}` needs `shotsFrom`: a question file that is not scored",
                {"n": self.shots},
            )
        if self.shots_from is not None and not self.shots:
            raise PydanticCustomError("shots", "`shotsFrom` needs `shots`: how many examples")
        return self

    @model_validator(mode="after")
    def _budget_that_can_be_kept(self) -> BenchSpec:
        if self.budget is None:
            return self
        if self.endpoint is None:
            raise PydanticCustomError(
                "budget", "`budget` belongs to an `endpoint`; a model of your own has none"
            )
        if self.budget.usd is not None and self.endpoint.prices is None:
            raise PydanticCustomError(
                "prices",
                "`budget.usd` needs `endpoint.prices`: inputPerMillion and outputPerMillion",
            )
        return self
