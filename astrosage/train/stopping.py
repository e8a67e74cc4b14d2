"""Early stopping: training ends when the validation loss has stopped falling."""

from __future__ import annotations

import math
from typing import Any

from astrosage.spec.train import EarlyStopping


class EarlyStop:
    """Counts validations that bring no improvement.

    A validation improves if its loss lies more than ``minDelta`` below the best so far; a loss
    that is not finite never does. Its state is plain data that goes into every checkpoint, so
    that a resumed run stops at the step at which the undisturbed one would have stopped.

    Args:
        spec: The stage's early stopping, or None if it has none: then it never ends.
    """

    def __init__(self, spec: EarlyStopping | None) -> None:
        self._spec = spec
        self.best: float | None = None
        """The lowest validation loss that counted as an improvement, in nats a token."""
        self.best_step: int | None = None
        """The step of :attr:`best`."""
        self._last_step = -1
        self._bad = 0

    def seen(self, step: int, loss: float) -> bool:
        """Take note of a validation.

        Args:
            step: The step it was made at; one that was seen before changes nothing, since a
                resumed run may validate again where it stopped.
            loss: The validation loss in nats a token.

        Returns:
            Whether training should end now.
        """
        if self._spec is None:
            return False
        if step > self._last_step:
            self._last_step = step
            if self._improves(loss, self._spec.min_delta):
                self.best, self.best_step, self._bad = loss, step, 0
            else:
                self._bad += 1
        return self._bad >= self._spec.patience

    def _improves(self, loss: float, min_delta: float) -> bool:
        if not math.isfinite(loss):
            return False
        return self.best is None or loss < self.best - min_delta

    def state_dict(self) -> dict[str, Any]:
        """The state as JSON values."""
        return {
            "best": self.best,
            "bestStep": self.best_step,
            "lastStep": self._last_step,
            "bad": self._bad,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state; what an older checkpoint lacks stays as it is in a new object."""
        self.best = state.get("best")
        self.best_step = state.get("bestStep")
        self._last_step = int(state.get("lastStep", -1))
        self._bad = int(state.get("bad", 0))
