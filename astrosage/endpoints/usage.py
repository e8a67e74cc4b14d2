"""Tokens that were computed, and what they cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from astrosage.spec.endpoint import Prices

PER = 100_000
"""Costs are given for so many tokens, as AstroMLab does."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of some work.

    Attributes:
        prompt: Tokens read.
        completion: Tokens written, thoughts included.
        reasoning: Those of them that were thoughts.
        estimated: Answers whose tokens a service did not tell, or not credibly.
    """

    prompt: int = 0
    completion: int = 0
    reasoning: int = 0
    estimated: int = 0

    @property
    def total(self) -> int:
        """All tokens."""
        return self.prompt + self.completion

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt + other.prompt,
            self.completion + other.completion,
            self.reasoning + other.reasoning,
            self.estimated + other.estimated,
        )

    def to_dict(self) -> dict[str, int]:
        """Plain data for the summary."""
        return {
            "prompt": self.prompt,
            "completion": self.completion,
            "reasoning": self.reasoning,
            "estimatedAnswers": self.estimated,
        }


def total(parts: Iterable[Usage]) -> Usage:
    """The sum."""
    whole = Usage()
    for part in parts:
        whole += part
    return whole


def price(used: Usage, prices: Prices | None) -> float | None:
    """USD by a price table; None without one."""
    if prices is None:
        return None
    cost = used.prompt * prices.input_per_million + used.completion * prices.output_per_million
    return cost / 1_000_000


def per_100k(usd: float | None, used: Usage) -> float | None:
    """USD for 100,000 tokens of such work; None where one of both is not known."""
    if usd is None or not used.total:
        return None
    return usd / used.total * PER


def account(usd: float | None, used: Usage, seconds: float) -> dict[str, Any]:
    """One model's part of a summary's cost."""
    return {
        "usd": usd,
        "usdPer100kTokens": per_100k(usd, used),
        "tokens": used.to_dict(),
        "seconds": round(seconds, 2),
    }
