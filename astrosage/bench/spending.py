"""A budget: when to stop asking, and what to say then."""

from __future__ import annotations

from dataclasses import dataclass

from astrosage.bench.kept import KeptAnswers
from astrosage.bench.usage import price
from astrosage.errors import SpecError
from astrosage.spec.bench import Budget, Prices


class BudgetReachedError(Exception):
    """No further request is to be sent."""


@dataclass(frozen=True)
class Purse:
    """What may be spent and what has been.

    Attributes:
        budget: The limits; None for none.
        prices: The service's price table.
        kept: Where what has been spent is written down, earlier attempts included.
        field: The stage's place for ``--set``, such as ``spec.stages.score.bench``.
        run: The run's name.
    """

    budget: Budget | None
    prices: Prices | None
    kept: KeptAnswers
    field: str = "bench"
    run: str = "RUN"

    def check(self) -> None:
        """Before a request.

        Raises:
            BudgetReachedError: If nothing is left.
        """
        if self._reached() is not None:
            raise BudgetReachedError

    def _reached(self) -> tuple[str, str] | None:
        """The limit that is reached: its field and what was spent, in words."""
        if self.budget is None:
            return None
        tokens, usd = self.kept.spent.total, price(self.kept.spent, self.prices)
        if self.budget.tokens is not None and tokens >= self.budget.tokens:
            return "tokens", f"{tokens:,} of {self.budget.tokens:,} tokens"
        if self.budget.usd is not None and usd is not None and usd >= self.budget.usd:
            return "usd", f"{usd:.4g} of {self.budget.usd:.4g} USD"
        return None

    def error(self, done: int, total: int) -> SpecError:
        """What to say when the budget stops the stage.

        Args:
            done: Questions that are answered.
            total: Questions that were to be asked, each method and order of options for itself.
        """
        name, spent = self._reached() or ("usd", "all")
        return SpecError(
            f"{self.field}.budget.{name}: the budget is used up ({spent}): {done} of {total} "
            "questions are answered, and kept",
            f"raise it and go on from there: `astroctl resume {self.run} --set "
            f"{self.field}.budget.{name}=…`; nothing is asked twice",
        )
