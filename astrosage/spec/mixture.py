"""What a prepare stage may be told of the proportions of its sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from pydantic_core import PydanticCustomError

from astrosage.spec.base import SpecModel
from astrosage.spec.sources import Source

_ROUNDING = 1e-9


class Mixture(SpecModel):
    """Proportions of the sources, by training tokens."""

    temperature: Annotated[float, Field(ge=1.0, le=1000.0)] | None = None
    """Take sources in proportion to their tokens to the power of 1/T (Devlin et al. 2018, Raffel et
    al. 2020): 1 keeps their sizes, larger values make them more equal, small ones are repeated.
    For sources without `share`; `weight` and `epochs` count towards a source's size."""
    max_epochs: Annotated[float, Field(gt=0.0, le=1000.0)] = 4.0
    """How often a record is seen at most to reach a share (up to four repeats are nearly as good as
    new data: Muennighoff et al. 2023)."""


def check_shares(sources: Sequence[Source], mixture: Mixture) -> None:
    """Refuse shares that cannot be.

    Raises:
        PydanticCustomError: If they sum to more than 1, to 1 with sources left over, or to less
            without any.
    """
    shares = [s.share for s in sources if s.share is not None]
    total, others = sum(shares), len(sources) - len(shares)
    if total > 1 + _ROUNDING:
        raise PydanticCustomError(
            "shares", "`sources[].share` sum to {total}, which is over 1", {"total": f"{total:g}"}
        )
    if shares and others and total > 1 - _ROUNDING:
        raise PydanticCustomError(
            "shares",
            "`sources[].share` sum to 1, which leaves nothing for the {others} sources without "
            "one; lower a share or remove them",
            {"others": others},
        )
    if shares and not others and total < 1 - _ROUNDING:
        raise PydanticCustomError(
            "shares",
            "all sources have a `share`, but they sum to {total}; make that 1, or leave one out",
            {"total": f"{total:g}"},
        )
