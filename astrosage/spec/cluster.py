"""Where stages run: workers, their resources, pool and queue."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from astrosage.spec.base import SpecModel
from astrosage.spec.kubernetes import Kubernetes, ObjectName, Quantity

PositiveInt = Annotated[int, Field(ge=1)]


class Elastic(SpecModel):
    """A range of workers."""

    min: PositiveInt
    """Fewest workers training goes on with."""
    max: PositiveInt
    """Most workers used."""

    @model_validator(mode="after")
    def _ordered(self) -> Elastic:
        if self.min > self.max:
            raise PydanticCustomError(
                "range", "min {min} is above max {max}", {"min": self.min, "max": self.max}
            )
        return self


class Resources(SpecModel):
    """What each worker asks for."""

    cpu: Annotated[float, Field(gt=0)] = 1
    """CPU cores, also the threads a worker computes with on a CPU."""
    gpu: Annotated[float, Field(ge=0)] = 0
    """GPUs."""
    memory: Quantity | None = None
    """Kubernetes quantity, for example 6Gi."""


class Cluster(SpecModel):
    """Where stages run: the same words on a laptop and on Kubernetes."""

    workers: PositiveInt | Elastic = 1
    """Workers, or `{min, max}`."""
    resources_per_worker: Resources = Resources()
    """Each worker's share."""
    workers_per_node: PositiveInt | None = None
    """Workers that share a pod (Kubernetes); default: as many as a node of the pool has GPUs for,
    without a pool one."""
    pool: ObjectName | None = None
    """A GPUNodePool (Kubernetes)."""
    queue: ObjectName | None = None
    """A Kueue LocalQueue, or with a gang scheduler its own queue (Kubernetes)."""
    price_per_hour: Annotated[float, Field(ge=0)] | None = None
    """USD an hour for the whole cluster; costs are reported when it is given."""

    kubernetes: Kubernetes = Kubernetes()
    """Pod options (Kubernetes)."""

    @property
    def min_workers(self) -> int:
        """The fewest workers that may run."""
        return self.workers.min if isinstance(self.workers, Elastic) else self.workers

    @property
    def max_workers(self) -> int:
        """The most workers that may run at once."""
        return self.workers.max if isinstance(self.workers, Elastic) else self.workers
