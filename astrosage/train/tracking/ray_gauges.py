"""Ray's own metrics, which every Ray node serves to Prometheus.

Ray puts ``ray_`` before each name: ``astrosage_train_loss`` is scraped as
``ray_astrosage_train_loss``. Every figure has the tags ``run`` and ``stage``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from astrosage.train.tracking.points import Point, is_number

_TAGS = ("run", "stage")
GAUGES = {
    "loss": ("loss", "Mean loss of the step's learnt tokens, nats a token"),
    "learningRate": ("learning_rate", "Learning rate of the step"),
    "gradientNorm": ("gradient_norm", "Global gradient norm before clipping"),
    "tokensPerSecond": ("tokens_per_second", "Tokens a second over all workers, without padding"),
    "mfu": ("mfu", "Model FLOPs utilisation, 0 to 1"),
    "stepSeconds": ("seconds_per_step", "Duration of the step"),
    "memoryBytes": ("memory_bytes", "Most memory that rank 0 has used so far"),
    "epoch": ("epoch", "Passes over the data so far"),
    "etaSeconds": ("eta_seconds", "Time to the end at the present pace"),
    "validationLoss": ("validation_loss", "Loss over all held-out tokens, nats a token"),
}
"""metrics.jsonl's field: the gauge's name after ``astrosage_train_``, and what it means."""
LABELLED = {
    "seconds": ("step_seconds", "phase", "Where the time since the step before went"),
    "validationLosses": (
        "source_validation_loss",
        "source",
        "Loss over a held-out source's tokens, nats a token",
    ),
}
"""The same for fields that are objects: name, label of the keys, meaning."""


class RayGauges:
    """Sets gauges; does nothing in a process that is no part of a Ray cluster."""

    def __init__(self, run: str, stage: str) -> None:
        self._tags = {"run": run, "stage": stage}
        self._gauges: dict[str, Any] = {}
        self._on = False

    def open(self, after_step: int | None) -> None:
        """See :class:`~astrosage.train.tracking.points.Sink`."""
        ray = sys.modules.get("ray")  # importing it takes a second, and would be in vain
        self._on = ray is not None and ray.is_initialized()

    def log(self, points: list[Point]) -> None:
        """See :class:`~astrosage.train.tracking.points.Sink`."""
        if not self._on:
            return
        for point in points:
            self._set("step", "Optimizer steps done", point.step)
            for field, value in point.values.items():
                if field in GAUGES and is_number(value):
                    self._set(*GAUGES[field], value)
                elif field in LABELLED and isinstance(value, Mapping):
                    self._set_labelled(field, value)

    def rewind(self, step: int) -> None:
        """See :class:`~astrosage.train.tracking.points.Sink`; a gauge has no past."""

    def close(self, finished: bool) -> None:
        """See :class:`~astrosage.train.tracking.points.Sink`; gauges end with their process."""

    def _set_labelled(self, field: str, values: Mapping[str, Any]) -> None:
        name, label, text = LABELLED[field]
        for key, value in values.items():
            if is_number(value):
                self._set(name, text, value, **{label: str(key)})

    def _set(self, name: str, text: str, value: float, **labels: str) -> None:
        gauge = self._gauges.get(name)
        if gauge is None:
            from ray.util.metrics import Gauge

            gauge = Gauge(f"astrosage_train_{name}", text, tag_keys=(*_TAGS, *labels))
            self._gauges[name] = gauge
        gauge.set(value, tags={**self._tags, **labels})
