"""What a prepare stage may be told."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from astrosage.spec.base import SpecModel
from astrosage.spec.sources import Licenses, Source

__all__ = ["Decontaminate", "Licenses", "Pack", "PrepareSpec", "Source", "Validation"]


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
    licenses: Licenses = Licenses()
    """Which licences are taken; all unless told."""
    deduplicate: bool = True
    """Drop records that are equal after white space and case are folded."""
    decontaminate: Decontaminate = Decontaminate()
    """On by default."""
    validation: Validation = Validation()
    """Held-out records."""
    seed: int = 0
    """Seeds sampling by weight."""
