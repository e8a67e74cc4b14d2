"""Who merges: this process, or the workers of a Ray cluster."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from astrosage.context import StageContext
from astrosage.errors import AstroError, ClusterError
from astrosage.merge import magnitude
from astrosage.merge.merger import Thresholds
from astrosage.merge.worker import Worker
from astrosage.models.layout import Shard


class Crew:
    """Those who do the work."""

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        """Let them go."""

    def count(self, donor: int, names: list[str], upper: int | None) -> magnitude.Counts:
        """A donor's differences in all tensors; see :func:`magnitude.count`."""
        raise NotImplementedError

    def write(
        self,
        shards: Sequence[Shard],
        thresholds: Thresholds,
        folder: Path | None,
        done: Callable[[int], None],
    ) -> Iterator[dict[str, Any]]:
        """Write all shards; entries of the manifest as they are done."""
        raise NotImplementedError


class Alone(Crew):
    """This process."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def count(self, donor: int, names: list[str], upper: int | None) -> magnitude.Counts:
        """See :meth:`Crew.count`."""
        return self._worker.count(donor, names, upper)

    def write(
        self,
        shards: Sequence[Shard],
        thresholds: Thresholds,
        folder: Path | None,
        done: Callable[[int], None],
    ) -> Iterator[dict[str, Any]]:
        """See :meth:`Crew.write`."""
        return (self._worker.write(s, thresholds, folder, done) for s in shards)


class RayCrew(Crew):
    """An actor for each of the cluster's workers, as they join."""

    def __init__(self, context: StageContext) -> None:
        import ray

        cluster, failures = context.cluster, context.job.spec.retry.max_failures
        cpu = cluster.resources_per_worker.cpu
        remote = ray.remote(_RemoteWorker).options(
            num_cpus=cpu,
            max_restarts=failures,
            max_task_retries=failures,
            scheduling_strategy="SPREAD",
        )
        fields = dataclasses.asdict(context)
        self._actors = [remote.remote(fields, max(1, int(cpu))) for _ in range(cluster.max_workers)]

    def __exit__(self, *_: object) -> None:
        import ray

        for actor in self._actors:
            ray.kill(actor)

    def count(self, donor: int, names: list[str], upper: int | None) -> magnitude.Counts:
        """See :meth:`Crew.count`."""
        parts = [names[i :: len(self._actors)] for i in range(len(self._actors))]
        calls = [partial(self._call, "count", donor, part, upper) for part in parts]
        return magnitude.total(counts for _, counts in self._perform(calls))

    def write(
        self,
        shards: Sequence[Shard],
        thresholds: Thresholds,
        folder: Path | None,
        done: Callable[[int], None],
    ) -> Iterator[dict[str, Any]]:
        """See :meth:`Crew.write`."""
        calls = [partial(self._call, "write", shard, thresholds, folder) for shard in shards]
        for number, entry in self._perform(calls):
            done(len(shards[number].shapes))
            yield entry

    @staticmethod
    def _call(method: str, *arguments: Any, actor: Any) -> Any:
        return getattr(actor, method).remote(*arguments)

    def _perform(self, calls: Sequence[Callable[..., Any]]) -> Iterator[tuple[int, Any]]:
        """Give a call to whoever is free; a worker that has no room yet gets none."""
        import ray

        joining = {actor.ready.remote(): actor for actor in self._actors}
        busy: dict[Any, tuple[int, Any]] = {}
        todo, left = iter(enumerate(calls)), len(calls)
        try:
            while left:
                ready, _ = ray.wait([*joining, *busy])
                for reference in ready:
                    value = ray.get(reference)
                    if reference in joining:
                        actor = joining.pop(reference)
                    else:
                        number, actor = busy.pop(reference)
                        left -= 1
                        yield number, value
                    following = next(todo, None)
                    if following is not None:
                        busy[following[1](actor=actor)] = (following[0], actor)
        except ray.exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, AstroError) else error) from error
        except ray.exceptions.RayActorError as error:
            raise ClusterError(
                f"a merging worker died: {error}",
                "look at its log (`astroctl logs`), then `astroctl resume`",
            ) from error


class _RemoteWorker:
    """A Ray actor that merges."""

    def __init__(self, context: dict[str, Any], threads: int) -> None:
        self._worker = Worker(StageContext(**context), threads)

    def ready(self) -> None:
        """Answers once the worker has its resources and has opened the models."""

    def count(self, donor: int, names: list[str], upper: int | None) -> magnitude.Counts:
        return self._worker.count(donor, names, upper)

    def write(self, shard: Shard, thresholds: Thresholds, folder: Path | None) -> dict[str, Any]:
        return self._worker.write(shard, thresholds, folder)
