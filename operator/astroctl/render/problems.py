"""What checks find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from astrosage.errors import SpecError


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        path: The field.
        message: What is wrong with it, and what was found.
        hint: What to do.
    """

    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" + (f" ({self.hint})" if self.hint else "")


def refuse(problems: Sequence[Problem]) -> None:
    """Raise if there is any problem.

    Raises:
        SpecError: With all of them.
    """
    if len(problems) == 1:
        only = problems[0]
        raise SpecError(f"{only.path}: {only.message}", only.hint)
    if problems:
        lines = "\n  ".join(str(p) for p in problems)
        raise SpecError(f"{len(problems)} problems:\n  {lines}", "mend each of them")
