"""The merge stage: stream over the tensors of all models, write one model."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

from torch import Tensor

from astrosage.context import StageContext
from astrosage.merge import magnitude, methods
from astrosage.merge.alike import check_alike
from astrosage.merge.tensors import ModelTensors
from astrosage.models.writing import ShardWriter, copy_companions
from astrosage.runs import manifest
from astrosage.spec.stages import MergeSpec

log = logging.getLogger(__name__)


def run(context: StageContext) -> dict[str, Any]:
    """Merge and write the stage's ``model/``.

    Memory holds one tensor of each model at a time, and a shard of the merged one.

    Returns:
        Facts for the lineage.

    Raises:
        DataError, NotFoundError: Naming the model and tensor that do not fit.
    """
    spec = context.stage.merge
    assert spec is not None
    with ExitStack() as stack:

        def opened(reference: str) -> ModelTensors:
            return stack.enter_context(ModelTensors(context.model_path(reference), reference))

        base = opened(spec.base) if spec.base is not None else None
        donors = [opened(d.model) for d in spec.models]
        check_alike([base, *donors] if base else donors)
        merge = Merge(spec, donors, base)
        count = merge.write(context)
    return {"tensors": count, "method": spec.method}


class Merge:
    """Models that fit each other and how to merge them.

    Args:
        spec: The stage's options.
        donors: In the order of ``spec.models``.
        base: What differences are taken from; None for a linear merge.
    """

    def __init__(
        self, spec: MergeSpec, donors: list[ModelTensors], base: ModelTensors | None
    ) -> None:
        self._spec, self._donors, self._base = spec, donors, base
        self._weights = [d.weight for d in spec.models]
        self._names = donors[0].names()
        self._thresholds = self._find_thresholds() if spec.method == "ties" else []

    def write(self, context: StageContext) -> int:
        """Write the stage's ``model/``; returns the number of tensors."""
        metrics = context.metrics(after_step=-1)  # this stage always starts from nothing
        with context.directory.storage.writing("model") as folder:
            writer = ShardWriter(folder)
            for step, name in enumerate(self._names, start=1):
                writer.add(name, self.tensor(name))
                metrics.log(step, len(self._names), "tensors")
            writer.finish()
            copy_companions((self._base or self._donors[0]).folder, folder)
            manifest.write(folder, key=context.key, method=self._spec.method)
        metrics.close()
        return len(self._names)

    def tensor(self, name: str) -> Tensor:
        """One merged tensor, fp32."""
        if self._base is None:
            tensors = [d.load(name) for d in self._donors]
            return methods.linear(tensors, self._weights, normalize=self._spec.normalize)
        base = self._base.load(name)
        if self._spec.method == "slerp":
            return methods.slerp(base, self._donors[0].load(name), self._weights[0])
        deltas = [self._sparse_delta(i, name, base) for i in range(len(self._donors))]
        merged = methods.elect_and_merge(deltas, self._weights, normalize=self._spec.normalize)
        return merged.add_(base)

    def _sparse_delta(self, donor: int, name: str, base: Tensor) -> Tensor:
        delta = self._donors[donor].load(name).sub_(base)
        if self._spec.method == "ties":
            return methods.trim(delta, self._thresholds[donor])
        density = self._spec.models[donor].density
        return methods.drop_and_rescale(delta, density, self._spec.seed, f"{donor}:{name}")

    def _find_thresholds(self) -> list[float]:
        assert self._base is not None, "the spec requires a base"
        found = []
        for donor, given in zip(self._donors, self._spec.models, strict=True):
            found.append(magnitude.threshold(partial(_deltas, donor, self._base), given.density))
            log.info("%s: differences below %.3g are trimmed", donor.label, found[-1])
        return found


def _deltas(donor: ModelTensors, base: ModelTensors) -> Iterator[Tensor]:
    return (donor.load(name).sub_(base.load(name)) for name in donor.names())
