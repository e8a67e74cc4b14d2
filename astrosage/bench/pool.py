"""Scoring spread over a Ray cluster's workers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

from astrosage.actors import Actors
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
        self.facts: list[dict[str, Any]] = []

    def perform(self, todo: Sequence[Task]) -> Results:
        """Do all tasks; results come in the order in which they are done.

        Raises:
            AstroError: As a task raised it.
            CapacityError, ClusterError: If no worker can be had, or one dies too often.
        """
        import ray

        context, inputs = self._context, self._inputs
        cluster = context.cluster
        threads = threads_for(cluster.resources_per_worker.cpu)
        with Actors(
            context,
            Worker,
            (dataclasses.asdict(context), inputs.models, inputs.writing, threads),
            min(cluster.max_workers, len(todo)),
            what="scoring worker",
            hint="often memory: lower bench.batchSize, raise resourcesPerWorker.memory, then "
            "resume",
            gpus=True,
        ) as workers:
            for _, done in workers.perform([partial(self._begin, task) for task in todo]):
                yield done
            self.facts = ray.get([worker.facts.remote() for worker in workers.joined])

    def _begin(self, task: Task, worker: Any) -> Any:
        return worker.perform.remote(task, self._inputs.of(task))
