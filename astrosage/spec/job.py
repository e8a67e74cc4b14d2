"""The AstroJob: the run file on a laptop is the Kubernetes object on a cluster."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from astrosage.spec.base import SpecModel
from astrosage.spec.stages import PositiveInt, Stage, StageName

API_VERSION: Literal["astrosage.io/v1alpha1"] = "astrosage.io/v1alpha1"


class Metadata(SpecModel):
    """Kubernetes object metadata, as far as a run file needs it."""

    name: StageName
    """The run's name; RayJob names add to it, so at most 40 characters."""
    namespace: StageName = "default"
    """Kubernetes namespace, and the folder of the run directory on every target."""
    labels: dict[str, str] = {}
    """Free labels."""
    annotations: dict[str, str] = {}
    """Free annotations."""


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
    memory: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|K|M|G|T)?$")] | None = (
        None
    )
    """Kubernetes quantity, for example 6Gi."""


class Cluster(SpecModel):
    """Where stages run: the same words on a laptop and on Kubernetes."""

    workers: PositiveInt | Elastic = 1
    """Workers, or `{min, max}`."""
    resources_per_worker: Resources = Resources()
    """Each worker's share."""
    pool: str | None = None
    """A GPUNodePool (Kubernetes)."""
    queue: str | None = None
    """A Kueue queue (Kubernetes)."""
    price_per_hour: Annotated[float, Field(ge=0)] | None = None
    """USD an hour for the whole cluster; costs are reported when it is given."""

    @property
    def max_workers(self) -> int:
        """The most workers that may run at once."""
        return self.workers.max if isinstance(self.workers, Elastic) else self.workers


class Retry(SpecModel):
    """What happens when a worker dies."""

    max_failures: Annotated[int, Field(ge=0)] = 3
    """Restarts from the last checkpoint before the run fails."""


class JobSpec(SpecModel):
    """What the run does and where."""

    model: str
    """Base model: alias, local path or hub id."""
    storage: str = "./runs"
    """Where the run directory lives: local path, s3://, gs://, az://, pvc://claim/path."""
    stages: list[Stage] = Field(min_length=1)
    """The steps; each names its inputs, so their order in the file does not matter."""
    cluster: Cluster = Cluster()
    """Workers and their resources."""
    retry: Retry = Retry()
    """Fault tolerance."""


class AstroJob(SpecModel):
    """One run, from corpus to score."""

    api_version: Literal["astrosage.io/v1alpha1"] = API_VERSION
    """Version of the format."""
    kind: Literal["AstroJob"] = "AstroJob"
    """Kind of object."""
    metadata: Metadata
    """Name and namespace."""
    spec: JobSpec
    """The run."""

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.metadata.namespace}/{self.metadata.name}"

    def stage(self, name: str) -> Stage:
        """The stage of that name; KeyError where there is none."""
        for stage in self.spec.stages:
            if stage.name == name:
                return stage
        raise KeyError(name)
