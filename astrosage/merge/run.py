"""The merge stage: stream over the tensors of all models, write one model.

Everything that is written follows from the models, the options and a tensor's name alone, so the
result is the same however many threads and workers take part.
"""

from __future__ import annotations

import logging
import os
from functools import partial
from typing import Any

from astrosage.context import StageContext
from astrosage.merge import magnitude
from astrosage.merge.crew import Crew, RayCrew, hire
from astrosage.merge.merger import Thresholds
from astrosage.merge.worker import Worker
from astrosage.models.layout import plan_shards
from astrosage.models.writing import copy_companions, write_index
from astrosage.runs import manifest
from astrosage.runs.metrics import MetricsWriter
from astrosage.spec.merge import MergeSpec
from astrosage.units import parse_bytes

log = logging.getLogger(__name__)

# Weights that are read, above which starting workers of a cluster takes less time than it saves.
_LARGE_BYTES = 8 << 30


def run(context: StageContext) -> dict[str, Any]:
    """Merge and write the stage's ``model/``.

    Large models are merged by the cluster's workers, small ones by this process. Memory holds a few
    pieces of a few megabytes for each thread.

    Returns:
        Facts for the lineage.

    Raises:
        DataError, NotFoundError, SpecError: Naming the model and tensor, or the option, that does
            not fit.
        ClusterError: If a worker dies too often.
    """
    spec = context.stage.merge
    assert spec is not None
    with Worker(context, _threads(context)) as here:
        if here.merger.size > _LARGE_BYTES and context.cluster.max_workers > 1:
            with hire(context) as actors:
                count = _Merge(context, spec, here, RayCrew(actors)).write()
        else:
            count = _Merge(context, spec, here, here).write()
    return {"tensors": count, "method": spec.method}


def _threads(context: StageContext) -> int:
    """What this process may use: the processors of all workers, which idle meanwhile."""
    cluster = context.cluster
    granted = int(cluster.max_workers * cluster.resources_per_worker.cpu)
    return max(1, min(granted, len(os.sched_getaffinity(0))))


class _Merge:
    """One merge: what is found out first, then what is written."""

    def __init__(self, context: StageContext, spec: MergeSpec, here: Worker, crew: Crew) -> None:
        self._context, self._spec, self._crew = context, spec, crew
        self._merger = here.merger
        self._names = list(self._merger.shapes)

    def write(self) -> int:
        """Write the stage's ``model/``; returns the number of tensors."""
        storage = self._context.directory.storage
        metrics = self._context.metrics(after_step=-1)  # this stage always starts from nothing
        metrics.log(0, len(self._names), "tensors")
        thresholds = self._thresholds()
        shards = plan_shards(self._merger.shapes, parse_bytes(self._spec.shard_size))
        if storage.local is None:
            storage.remove("model")  # workers write there as they go
        with storage.writing("model") as folder:
            shared = folder if storage.local is not None else None
            done = _Counter(metrics, len(self._names))
            entries = list(self._crew.write_all(shards, thresholds, shared, done.add))
            weight_map = {name: shard.name for shard in shards for name in shard.shapes}
            write_index(folder, weight_map, sum(shard.size for shard in shards))
            copy_companions(self._merger.source, folder)
            manifest.write(folder, key=self._context.key, known=entries, method=self._spec.method)
        metrics.close()
        return len(self._names)

    def _thresholds(self) -> Thresholds:
        if self._spec.method != "ties" or self._spec.trim != "model":
            return []
        found = []
        for i, donor in enumerate(self._spec.models):
            counted = partial(self._crew.count, i, self._names)
            found.append(magnitude.thresholds(counted, self._merger.recipe.densities(i)))
            for density, smallest in found[-1].items():
                log.info(
                    "%s: at density %g, differences below %.3g are trimmed",
                    *(donor.model, density, smallest),
                )
        return found


class _Counter:
    """Writes metrics as tensors are done."""

    def __init__(self, metrics: MetricsWriter, total: int) -> None:
        self._metrics, self._done, self._total = metrics, 0, total

    def add(self, tensors: int) -> None:
        self._done += tensors
        self._metrics.log(self._done, self._total, "tensors")
