"""What a prepare stage may be told."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from astrosage.spec.base import SpecModel
from astrosage.spec.chat import Chat
from astrosage.spec.clean import Clean
from astrosage.spec.deduplicate import Deduplicate
from astrosage.spec.mixture import Mixture, check_shares
from astrosage.spec.sources import Licenses, Source

__all__ = [
    "Chat",
    "Clean",
    "Decontaminate",
    "Deduplicate",
    "Licenses",
    "Mixture",
    "Pack",
    "PrepareSpec",
    "Source",
    "Validation",
]


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
    ngrams: Annotated[
        list[Annotated[int, Field(ge=5, le=50)]], Field(min_length=1, max_length=2)
    ] = [13, 8]
    """Words in a row that count as contamination when a text shares them with a question. The
    first decide alone (a shorter question counts when it stands whole), the second where they cover
    at least `coverage` of a question; `[13]` leaves the second rule out."""
    coverage: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """Share of the words of a question (stem and options, of which the stem must be touched) that
    the shorter n-grams must cover within a paragraph. Runs that stand in more than three questions
    are common phrases and do not count."""
    action: Literal["remove", "fail"] = "remove"
    """`remove` drops what `remove` names (texts), `fail` ends the stage; a chat record that holds a
    question always fails."""
    remove: Literal["passage", "record"] = "passage"
    """What is dropped: the paragraph, or the whole record."""

    @field_validator("ngrams")
    @classmethod
    def _longest_first(cls, value: list[int]) -> list[int]:
        if len(value) == 2 and value[0] <= value[1]:
            raise PydanticCustomError(
                "ngrams", "`ngrams` has the longer one first, such as [13, 8]"
            )
        return value

    @property
    def deciding(self) -> int:
        """Words in a row that decide alone."""
        return self.ngrams[0]

    @property
    def covering(self) -> int | None:
        """Words in a row that decide by coverage, if any do."""
        return self.ngrams[1] if len(self.ngrams) == 2 else None


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
    """`text`: documents for continued pre-training. `chat`: JSONL or Parquet records of
    conversations (`sources[].layout`), rendered with the model's chat template, loss on assistant
    tokens only."""
    chat: Chat = Chat()
    """How conversations become training sequences (`format: chat` only)."""
    model: str | None = None
    """The model whose tokenizer is used; default: the run's `spec.model`."""
    pack: Pack = Pack()
    """Packing options."""
    licenses: Licenses = Licenses()
    """Which licences are taken; all unless told."""
    clean: Clean = Clean()
    """Cleaning and quality filters; all off unless told."""
    deduplicate: bool | Deduplicate = True
    """`true`: drop records that are equal after white space and case are folded; `false`: keep
    them; or options, for near-duplicates and earlier data."""
    decontaminate: Decontaminate = Decontaminate()
    """On by default."""
    validation: Validation = Validation()
    """Held-out records."""
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Train on this share of the records only, chosen by hash after cleaning and deduplication, so
    that a smaller share is part of each larger one; held-out records stay. Default: all."""
    mixture: Mixture = Mixture()
    """How sources with `share`, or all of them by `temperature`, are brought into proportion."""
    seed: int = 0
    """Seeds sampling by weight."""

    @model_validator(mode="after")
    def _chat_options_for_chats(self) -> PrepareSpec:
        if self.format == "chat":
            return self
        named = (("sources", self.sources), ("validation.sources", self.validation.sources))
        told = [
            f"{name}[{i}].layout"
            for name, sources in named
            for i, source in enumerate(sources)
            if source.layout != "auto"
        ]
        told += ["chat"] if self.chat != Chat() else []
        if told:
            raise PydanticCustomError(
                "chat",
                "`{field}` belongs to `format: chat`, not to `format: text`",
                {"field": told[0]},
            )
        return self

    @model_validator(mode="after")
    def _mixture_adds_up(self) -> PrepareSpec:
        check_shares(self.sources, self.mixture)
        return self

    @property
    def deduplication(self) -> Deduplicate:
        """The options, where `true` and `false` stand for the exact kind alone."""
        if isinstance(self.deduplicate, bool):
            return Deduplicate(exact=self.deduplicate)
        return self.deduplicate
