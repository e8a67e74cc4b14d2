"""What every peer writes down: one JSON line a step, and the time in its engine by part.

Imported by the peers' scripts in their own environment, so it knows nothing of astrosage.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any


class StepLog:
    """Lines ``{time, seconds, tokens, loss, forward, backward}`` of rank 0.

    Args:
        file: Where they go; None on the other ranks.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file.open("w", encoding="utf-8") if file else None
        self._spent: dict[str, float] = defaultdict(float)
        self._began = 0.0

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time added to a part of the step."""

        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self._spent[part] += time.perf_counter() - began

        return call

    def begin(self) -> None:
        """A step begins."""
        self._began = time.perf_counter()
        self._spent.clear()

    def end(self, **values: float) -> None:
        """A step ended."""
        if self._file is None:
            return
        line = {"time": time.time(), "seconds": time.perf_counter() - self._began}
        self._file.write(json.dumps(line | self._spent | values) + "\n")
        self._file.flush()
