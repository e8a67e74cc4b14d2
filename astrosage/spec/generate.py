"""What a generate stage may be told."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from astrosage.spec.base import SpecModel
from astrosage.spec.cluster import PositiveInt
from astrosage.spec.endpoint import OPERATIONAL as ENDPOINT_OPERATIONAL
from astrosage.spec.endpoint import Budget, Endpoint, around
from astrosage.spec.kubernetes import rule, rules
from astrosage.spec.sources import Licenses, Source

Product = Literal["chat", "questions"]
Grade = Annotated[float, Field(ge=1.0, le=5.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
PRODUCTS: dict[Product, str] = {"chat": "chat.jsonl", "questions": "questions.jsonl"}
"""The file of each kind, in the stage's folder ``generated``."""
# Words of a passage, and items from one, unless told.
_MOST_WORDS: dict[Product, int] = {"chat": 600, "questions": 12_000}
_COUNT: dict[Product, int] = {"chat": 3, "questions": 5}


class Passages(SpecModel):
    """Which parts of the sources are written about. Records are cut at paragraphs, in order."""

    min_words: PositiveInt = 60
    """Shorter ones are left out."""
    max_words: Annotated[int, Field(ge=20)] | None = None
    """Longest; a paragraph over it is cut between words. Default: 600; for `questions`, which are
    made from whole articles, 12,000. The writer must have room for it."""
    per_record: PositiveInt | None = None
    """How many of a record's passages are taken, chosen by `seed`; default: all, for `questions`
    one."""
    max: PositiveInt | None = None
    """How many of all are taken, chosen by `seed` and their text, so that a larger number keeps
    those of a smaller one; default: all."""


class Writer(Endpoint):
    """The service that writes."""

    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = 0.7
    """How freely it writes. An answer is kept, so that a run that goes on has the same ones."""
    max_new_tokens: PositiveInt = 4096
    """Tokens a reply may have, its thoughts included; one reply holds all items of a passage."""
    options: dict[str, Any] = {}
    """Further fields of each request, as the service knows them, such as `reasoning_effort`; `null`
    leaves one of ours out (`seed`, `temperature`, `max_tokens`)."""


class Grader(Endpoint):
    """The service that grades, which should not be the one that writes."""

    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = 0.0
    """0: the likeliest grades."""
    max_new_tokens: PositiveInt = 1024
    """Tokens a reply may have, its thoughts included."""
    options: dict[str, Any] = {}
    """Further fields of each request, as for the writer."""
    overall: Grade = 4.0
    """Least overall grade, from 1 to 5."""
    correctness: Grade = 4.0
    """Least grade of being right by the passage."""
    standalone: Grade = 4.0
    """Least grade of being understood without the passage."""
    pertinence: Grade = 3.0
    """Least grade of being worth knowing in the field."""


class Prompts(SpecModel):
    """Own words for what the services are told. The form of the reply and the passage are always
    added; `{count}` stands for the number of items."""

    write: str | None = Field(default=None, min_length=1)
    """To the writer."""
    grade: str | None = Field(default=None, min_length=1)
    """To the grader."""
    variations: list[str] | None = None
    """One of them, chosen by `seed` and passage, is added for the writer, so that not all items are
    of one mould; default: a handful of our own, `[]` for none."""


class GenerateSpec(SpecModel):
    """Write question-answer pairs, reasoning traces or benchmark questions from passages."""

    model_config = rules(
        rule(
            "!has(self.budget) || !has(self.budget.usd) || (has(self.writer.prices) && "
            "(!has(self.grader) || has(self.grader.prices)))",
            "budget.usd needs writer.prices and grader.prices",
        ),
        rule(
            "!has(self.reasoning) || self.reasoning == 0.0 || !has(self.kind) || "
            "self.kind == 'chat'",
            "reasoning belongs to kind chat",
        ),
    )

    kind: Product = "chat"
    """`chat`: pairs of question and answer for training, which a prepare stage of `format: chat`
    takes as a source by this stage's name. `questions`: stand-alone four-option questions, which a
    bench stage takes by this stage's name."""
    sources: list[Source] = Field(min_length=1)
    """What to read. For `questions`: articles that are withheld from training."""
    licenses: Licenses = Licenses()
    """Which licences are taken; all unless told."""
    passages: Passages = Passages()
    """What is taken of the sources."""
    count: Annotated[int, Field(ge=1, le=20)] | None = None
    """Items from each passage; default: 3 pairs, or 5 questions."""
    reasoning: Share = 0.0
    """Share of the passages whose answers begin with the thoughts that lead to them, between
    `<think>` and `</think>` (`chat` only)."""
    writer: Writer
    """Who writes."""
    grader: Grader | None = None
    """Who grades, and from which grades on something is taken; without it only the automatic checks
    decide."""
    length_ratio: Annotated[float, Field(ge=1.0, le=10.0)] = 1.8
    """The longest option may be so many times as long as the shortest (`questions`)."""
    prompts: Prompts = Prompts()
    """Own prompts."""
    decontaminate: bool = True
    """Leave out pairs that share words with a question of the run's bench stages, by the rules of a
    prepare stage (`chat`)."""
    max_nonsense: Share = 0.3
    """The stage ends when a larger share of replies, twenty at the least, cannot be read."""
    budget: Budget | None = None
    """When to stop asking, both services together; default: never."""
    at_budget: Literal["stop", "finish"] = "stop"
    """`stop`: the run stops, and goes on when the budget is raised. `finish`: the stage ends well
    with what there is."""
    seed: int = 0
    """Seeds the choice of passages, variations, reasoning and the order of options; services that
    know seeds get it too."""

    @model_validator(mode="after")
    def _possible(self) -> GenerateSpec:
        if self.kind != "chat" and self.reasoning:
            raise PydanticCustomError("reasoning", "`reasoning` belongs to `kind: chat`")
        if self.passages.min_words > self.most_words:
            raise PydanticCustomError(
                "words",
                "`passages.minWords` {least} is over `passages.maxWords` {most}",
                {"least": self.passages.min_words, "most": self.most_words},
            )
        services: dict[str, Endpoint | None] = {"writer": self.writer, "grader": self.grader}
        if self.budget is not None and self.budget.usd is not None:
            for name, service in services.items():
                if service is not None and service.prices is None:
                    raise PydanticCustomError(
                        "prices",
                        "`budget.usd` needs `{name}.prices`: inputPerMillion and outputPerMillion",
                        {"name": name},
                    )
        return self

    @property
    def items(self) -> int:
        """Items asked for from each passage."""
        return self.count or _COUNT[self.kind]

    @property
    def most_words(self) -> int:
        """Words of the longest passage."""
        return self.passages.max_words or _MOST_WORDS[self.kind]

    @property
    def per_record(self) -> int | None:
        """Passages that are taken of a record; None for all."""
        return self.passages.per_record or (1 if self.kind == "questions" else None)

    @property
    def left_out(self) -> dict[str, Any]:
        """What the result does not depend on: how fast and how far the services are asked."""
        asked = dict.fromkeys(ENDPOINT_OPERATIONAL, True)
        budget: dict[str, Any] = {"budget": True} if self.at_budget == "stop" else {}
        return {**budget, "max_nonsense": True, "writer": asked, "grader": asked}


AROUND = (
    "generate.budget",
    "generate.maxNonsense",
    *around("generate.writer"),
    *around("generate.grader"),
)
"""The fields of a run that goes on which may change; answers are kept."""
