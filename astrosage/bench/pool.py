"""Scoring spread over a Ray cluster's workers.

As many workers as the job asks for are requested; each joins when the cluster has room for it, and
those that never get room are not waited for.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from astrosage.bench.tasks import (
    Done,
    Inputs,
    Performer,
    Results,
    Role,
    Task,
    Writing,
    threads_for,
)
from astrosage.context import StageContext
from astrosage.errors import AstroError, CapacityError, ClusterError

log = logging.getLogger(__name__)

# A busy worker is waited for that long, one for which no node is large enough only that long.
_BUSY_SECONDS, _TOO_SMALL_SECONDS = 300.0, 30.0


class Worker:
    """A Ray actor that scores.

    Args:
        context: Fields of the stage's context; models are found through it on each machine.
        models: Reference of each role's model.
        writing: How answers are written.
        threads: CPU threads.
    """

    def __init__(
        self, context: dict[str, Any], models: dict[Role, str], writing: Writing, threads: int
    ) -> None:
        find = StageContext(**context).model_path
        self._performer = Performer(models, writing, find, threads)

    def ready(self) -> None:
        """Answers once the worker has its resources."""

    def perform(self, task: Task, items: list[Any]) -> Done:
        """Do one task."""
        return self._performer.perform(task, items)

    def facts(self) -> dict[str, Any]:
        """What the worker ran on and how much memory it took at most."""
        import torch

        from astrosage import lineage

        cuda = torch.cuda.is_available()
        return {
            **lineage.hardware(),
            "accelerator": torch.cuda.get_device_name() if cuda else None,
            "threads": torch.get_num_threads(),
            "peakMemoryBytes": lineage.peak_memory_bytes(),
            "peakAcceleratorMemoryBytes": torch.cuda.max_memory_allocated() if cuda else None,
        }


class Pool:
    """Performs tasks on a cluster; use :meth:`perform` once.

    Args:
        context: The stage.
        inputs: What is scored.

    Attributes:
        facts: After :meth:`perform`, what each worker that took part says of itself.
    """

    def __init__(self, context: StageContext, inputs: Inputs) -> None:
        self._context, self._inputs = context, inputs
        self._cluster, self._retry = context.cluster, context.job.spec.retry
        self.facts: list[dict[str, Any]] = []

    def perform(self, todo: Sequence[Task]) -> Results:
        """Do all tasks; results come in the order in which they are done.

        Raises:
            AstroError: As a task raised it.
            CapacityError, ClusterError: If no worker can be had, or one dies too often.
        """
        import ray

        workers = self._create(min(self._cluster.max_workers, len(todo)))
        try:
            yield from self._dispatch(workers, deque(todo))
        except ray.exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, AstroError) else error) from error
        except ray.exceptions.RayActorError as error:
            raise ClusterError(
                f"a scoring worker died: {error}",
                "often memory: lower bench.batchSize, raise resourcesPerWorker.memory, then resume",
            ) from error
        finally:
            for worker in workers:
                ray.kill(worker)

    def _create(self, count: int) -> list[Any]:
        import ray

        wanted = self._cluster.resources_per_worker
        failures = self._retry.max_failures
        remote = ray.remote(Worker).options(
            num_cpus=wanted.cpu,
            num_gpus=wanted.gpu,
            max_restarts=failures,
            max_task_retries=failures,
        )
        fields = dataclasses.asdict(self._context)
        models, writing = self._inputs.models, self._inputs.writing
        threads = threads_for(wanted.cpu)
        return [remote.remote(fields, models, writing, threads) for _ in range(count)]

    def _dispatch(self, workers: list[Any], queue: deque[Task]) -> Results:
        import ray

        waiting = {worker.ready.remote(): worker for worker in workers}
        running: dict[Any, Any] = {}
        joined: list[Any] = []
        began = time.monotonic()
        while queue or running:
            done, _ = ray.wait([*running, *waiting], timeout=1.0)
            for reference in done:
                if reference in waiting:
                    worker = waiting.pop(reference)
                    ray.get(reference)
                    joined.append(worker)
                else:
                    worker = running.pop(reference)
                    yield ray.get(reference)
                if queue:
                    task = queue.popleft()
                    running[worker.perform.remote(task, self._inputs.of(task))] = worker
            if not joined:
                self._check_patience(time.monotonic() - began)
        if waiting:
            log.info("%d of %d workers took part", len(joined), len(workers))
        self.facts = ray.get([worker.facts.remote() for worker in joined])

    def _check_patience(self, seconds: float) -> None:
        import ray

        wanted = self._cluster.resources_per_worker
        asked = f"a worker with {wanted.cpu:g} CPU and {wanted.gpu:g} GPU"
        nodes = [n["Resources"] for n in ray.nodes() if n["Alive"]]
        fits = any(n.get("CPU", 0) >= wanted.cpu and n.get("GPU", 0) >= wanted.gpu for n in nodes)
        if not fits and seconds > _TOO_SMALL_SECONDS:
            largest = ", ".join(f"{n.get('CPU', 0):g} CPU {n.get('GPU', 0):g} GPU" for n in nodes)
            raise CapacityError(
                f"spec.cluster.resourcesPerWorker: no node has room for {asked}; nodes: {largest}",
                "ask for less, or use a larger cluster",
            )
        if seconds > _BUSY_SECONDS:
            raise ClusterError(
                f"{asked} did not become free within {_BUSY_SECONDS:.0f} s",
                "something else uses the cluster: wait for it or stop it, then resume",
            )
