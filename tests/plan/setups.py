"""Setups to plan with."""

from __future__ import annotations

from typing import Any

from astrosage.plan.models import BUILT_IN
from astrosage.plan.setup import Setup
from astrosage.spec.train import TrainSpec


def setup(
    model: str = "llama-3.1-8b",
    workers: int = 8,
    length: int = 8192,
    micro: int = 1,
    cuda: bool = True,
    **spec: Any,
) -> Setup:
    """A stage; ``spec`` in the run file's words."""
    spec.setdefault("globalBatchSize", workers * micro)
    body = TrainSpec.model_validate({"objective": "cpt", "data": "corpus", **spec})
    return Setup(BUILT_IN[model], body, workers, length, micro, cuda)
