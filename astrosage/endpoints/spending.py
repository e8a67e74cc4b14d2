"""A budget: when to stop asking, and what to say then."""

from __future__ import annotations

from dataclasses import dataclass

from astrosage.endpoints.kept import KeptAnswers
from astrosage.endpoints.usage import price
from astrosage.errors import SpecError
from astrosage.spec.endpoint import Budget, Prices


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
        beside: Answers and prices of further services that the same budget pays for.
        what: What is asked for, for messages.
    """

    budget: Budget | None
    prices: Prices | None
    kept: KeptAnswers
    field: str = "bench"
    run: str = "RUN"
    beside: tuple[tuple[KeptAnswers, Prices | None], ...] = ()
    what: str = "questions"

    @property
    def tokens(self) -> int:
        """Tokens that were asked for, all services together."""
        return self.kept.spent.total + sum(kept.spent.total for kept, _ in self.beside)

    @property
    def usd(self) -> float | None:
        """What they cost; None where one of the services has no prices."""
        services = ((self.kept, self.prices), *self.beside)
        parts = [price(kept.spent, prices) for kept, prices in services]
        known = [p for p in parts if p is not None]
        return sum(known) if len(known) == len(parts) else None

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
        tokens, usd = self.tokens, self.usd
        if self.budget.tokens is not None and tokens >= self.budget.tokens:
            return "tokens", f"{tokens:,} of {self.budget.tokens:,} tokens"
        if self.budget.usd is not None and usd is not None and usd >= self.budget.usd:
            return "usd", f"{usd:.4g} of {self.budget.usd:.4g} USD"
        return None

    def error(self, done: int, total: int) -> SpecError:
        """What to say when the budget stops the stage.

        Args:
            done: What is finished, such as questions that are answered.
            total: What was to be done; of questions, each method and order of options for itself.
        """
        name, spent = self._reached() or ("usd", "all")
        return SpecError(
            f"{self.field}.budget.{name}: the budget is used up ({spent}): {done} of {total} "
            f"{self.what} are answered, and kept",
            f"raise it and go on from there: `astroctl resume {self.run} --set "
            f"{self.field}.budget.{name}=…`; nothing is asked twice",
        )
