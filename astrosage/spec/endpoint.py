"""What a stage may be told of an OpenAI-compatible service: where it is, how fast it is asked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.alias_generators import to_camel

from astrosage.spec.base import SpecModel
from astrosage.spec.cluster import PositiveInt

Dollars = Annotated[float, Field(gt=0.0)]


class Prices(SpecModel):
    """What a service charges for tokens; costs are reported when it is given."""

    input_per_million: Annotated[float, Field(ge=0.0)]
    """A million tokens of prompts."""
    output_per_million: Annotated[float, Field(ge=0.0)]
    """A million tokens of answers, reasoning included."""
    currency: Literal["USD"] = "USD"
    """Currency."""


class Endpoint(SpecModel):
    """An OpenAI-compatible service."""

    url: str = Field(pattern=r"^https?://")
    """Base URL that ends in /v1."""
    model: str
    """The model's name there."""
    api_key_env: str | None = None
    """Environment variable that holds the key (never the key itself)."""
    concurrency: Annotated[int, Field(ge=1, le=1024)] = 8
    """Requests under way at once."""
    requests_per_minute: PositiveInt | None = None
    """Requests that are begun in a minute at most; default: as many as are answered."""
    tokens_per_minute: PositiveInt | None = None
    """Tokens, read and written, in a minute at most; each answer counts as the service tells its
    tokens, and before it comes as it is estimated."""
    timeout_seconds: Annotated[float, Field(gt=0.0, le=86_400.0)] | None = None
    """How long an answer may take; default: two minutes and a tenth of a second for each token that
    it may have."""
    prices: Prices | None = None
    """Its price table."""
    cache: str | None = Field(default=None, pattern=r"^/")
    """A file on the machine of the stage that keeps answers for other runs too (an absolute path);
    default: each run keeps its own."""


class Budget(SpecModel):
    """When to stop asking a service. What has been answered is kept, and is not asked again when
    the run goes on; requests under way are waited for, so a little more may be spent."""

    tokens: PositiveInt | None = None
    """Tokens of prompts and answers."""
    usd: Dollars | None = None
    """USD, by `endpoint.prices`."""


OPERATIONAL = (
    "concurrency",
    "requests_per_minute",
    "tokens_per_minute",
    "timeout_seconds",
    "cache",
)
"""How a service is asked; no answer depends on it."""


def around(field: str) -> tuple[str, ...]:
    """The fields of an endpoint that may change under a run that goes on.

    Args:
        field: Where the endpoint stands in its stage, such as ``bench.endpoint``.
    """
    return tuple(f"{field}.{to_camel(name)}" for name in (*OPERATIONAL, "prices"))
