"""Where the time of a step goes."""

from __future__ import annotations

import time
from typing import Any

import torch

PHASES = ("data", "forward", "backward", "optimizer", "checkpoint", "validation")


class Stopwatch:
    """Adds up the time of phases between two readings.

    On a GPU phases are marked by events in its own queue, since the processor that fills the queue
    runs ahead of it; reading waits until the queue is done.

    Args:
        device: Where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._seconds: dict[str, float] = {}
        self._marks: list[tuple[str, Any]] = []
        self._mark = self._now()

    def _now(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def lap(self, phase: str) -> None:
        """The time since the last lap was this phase's."""
        now = self._now()
        if self._cuda:
            self._marks.append((phase, now))
        else:
            self._seconds[phase] = self._seconds.get(phase, 0.0) + now - self._mark
            self._mark = now

    def read(self) -> dict[str, float]:
        """Seconds of each phase since the last reading; they start over at 0."""
        for phase, event in self._marks:
            event.synchronize()
            elapsed = self._mark.elapsed_time(event) / 1000
            self._seconds[phase] = self._seconds.get(phase, 0.0) + elapsed
            self._mark = event
        self._marks = []
        seconds, self._seconds = self._seconds, {}
        return {phase: round(seconds.get(phase, 0.0), 5) for phase in PHASES}
