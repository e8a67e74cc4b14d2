"""Who merges: this process, or the workers of a Ray cluster."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from astrosage.actors import Actors
from astrosage.context import StageContext
from astrosage.merge import magnitude
from astrosage.merge.merger import Thresholds
from astrosage.merge.worker import Worker
from astrosage.models.layout import Shard


class Crew(Protocol):
    """Those who do the work; a :class:`~astrosage.merge.worker.Worker` alone is one."""

    def count(self, donor: int, names: Sequence[str], upper: int | None) -> magnitude.Counts:
        """A donor's differences in all tensors; see :func:`magnitude.count`."""

    def write_all(
        self,
        shards: Sequence[Shard],
        thresholds: Thresholds,
        folder: Path | None,
        done: Callable[[int], None],
    ) -> Iterator[dict[str, Any]]:
        """Write all shards, telling of tensors that are done; entries of the manifest."""


class RayCrew:
    """Actors, as they join.

    Args:
        actors: Made by :func:`hire`.
    """

    def __init__(self, actors: Actors) -> None:
        self._actors = actors

    def count(self, donor: int, names: Sequence[str], upper: int | None) -> magnitude.Counts:
        """See :meth:`Crew.count`."""
        parts = [names[i :: self._actors.count] for i in range(self._actors.count)]
        calls = [partial(_call, "count", donor, part, upper) for part in parts]
        return magnitude.total(counts for _, counts in self._actors.perform(calls))

    def write_all(
        self,
        shards: Sequence[Shard],
        thresholds: Thresholds,
        folder: Path | None,
        done: Callable[[int], None],
    ) -> Iterator[dict[str, Any]]:
        """See :meth:`Crew.write_all`."""
        calls = [partial(_call, "write", shard, thresholds, folder) for shard in shards]
        for number, entry in self._actors.perform(calls):
            done(len(shards[number].shapes))
            yield entry


def _call(method: str, *arguments: Any) -> Any:
    *given, actor = arguments
    return getattr(actor, method).remote(*given)


class RemoteWorker:
    """A Ray actor that merges."""

    def __init__(self, context: dict[str, Any], threads: int) -> None:
        self._worker = Worker(StageContext(**context), threads)

    def ready(self) -> None:
        """Answers once the worker has its resources and has opened the models."""

    def count(self, donor: int, names: Sequence[str], upper: int | None) -> magnitude.Counts:
        """See :meth:`Worker.count`."""
        return self._worker.count(donor, names, upper)

    def write(self, shard: Shard, thresholds: Thresholds, folder: Path | None) -> dict[str, Any]:
        """See :meth:`Worker.write`."""
        return self._worker.write(shard, thresholds, folder)


def hire(context: StageContext) -> Actors:
    """An actor for each of the cluster's workers."""
    cluster = context.cluster
    threads = max(1, int(cluster.resources_per_worker.cpu))
    return Actors(
        context,
        RemoteWorker,
        (dataclasses.asdict(context), threads),
        cluster.max_workers,
        what="merging worker",
        hint="look at its log (`astroctl logs`), then `astroctl resume`",
        gpus=False,
        scheduling_strategy="SPREAD",
    )
