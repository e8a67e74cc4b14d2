"""What a server tells of its model: where it comes from and how good it was found."""

from __future__ import annotations

from pydantic import Field

from astrosage.spec.base import SpecModel


class Score(SpecModel):
    """One result of a benchmark."""

    name: str
    """What was measured, such as `quiz (240), likelihood`."""
    value: str
    """The result with its interval, such as `36.7 % [30.8 %, 42.9 %]`."""
    baseline: str = ""
    """The same of the model that it is compared with."""


class Card(SpecModel):
    """A model's card."""

    description: str = ""
    """What the model is for, in a sentence or two."""
    base: str = ""
    """The model that it was made from."""
    licence: str = ""
    """The licence that it may be used under."""
    lineage: list[str] = Field(default_factory=list)
    """The steps that led from the base to it, in order."""
    scores: list[Score] = Field(default_factory=list)
    """Benchmark results."""

    def to_dict(self) -> dict[str, object]:
        """Plain data, without what is not told."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
