"""Metrics as the trackers take them: numbers with flat names in groups."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

_LARGEST_EXPONENT = 700.0  # math.exp overflows a double soon after
_GROUPS = {"seconds": "seconds", "validationLosses": "validation_loss"}


@dataclass(frozen=True)
class Point:
    """What was logged at once.

    Attributes:
        step: Optimizer steps done.
        time: Seconds since the epoch.
        values: As in metrics.jsonl; nested and other than numbers too.
    """

    step: int
    time: float
    values: Mapping[str, Any]

    def tags(self) -> dict[str, float]:
        """Numbers by tag: ``train/loss``, ``seconds/forward``, ``validation_loss/<source>``.

        Perplexities, e to the power of the loss, are added: ``validation/perplexity`` and
        ``validation_perplexity/<source>``. No tag is the beginning of another one's path.
        """
        return dict(self._tags())

    def _tags(self) -> Iterator[tuple[str, float]]:
        for name, value in self.values.items():
            if name == "validationLoss" and is_number(value):
                yield "validation/loss", float(value)
                yield "validation/perplexity", perplexity(value)
            elif isinstance(value, Mapping):
                yield from self._nested(name, value)
            elif is_number(value):
                yield f"train/{name}", float(value)

    @staticmethod
    def _nested(name: str, values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
        group = _GROUPS.get(name, f"train/{name}")
        for key, value in values.items():
            if is_number(value):
                yield f"{group}/{key}", float(value)
                if name == "validationLosses":
                    yield f"validation_perplexity/{key}", perplexity(value)


class Sink(Protocol):
    """A place that metrics go to. Only one thread calls it; it may be slow and may fail."""

    def open(self, after_step: int | None) -> None:
        """Begin, or go on with, the training's record; called once and first.

        Args:
            after_step: The checkpoint's step that training goes on from; later points are done
                again. None: it begins.
        """

    def log(self, points: list[Point]) -> None:
        """Take points in their order."""

    def rewind(self, step: int) -> None:
        """Training goes back to an earlier step; what was logged after it no longer counts."""

    def close(self, finished: bool) -> None:
        """Store what is held back.

        Args:
            finished: Whether training has come to its end.
        """


def is_number(value: Any) -> bool:
    """Whether a value can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def perplexity(loss: float) -> float:
    """e to the power of a loss in nats a token."""
    return math.exp(min(float(loss), _LARGEST_EXPONENT))
