"""The AstroJob: the run file on a laptop is the Kubernetes object on a cluster."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from astrosage.spec.base import SpecModel
from astrosage.spec.cluster import Cluster, Elastic, PositiveInt, Resources
from astrosage.spec.kubernetes import rule, rules
from astrosage.spec.stages import Stage, StageName

__all__ = ["AstroJob", "Cluster", "Elastic", "JobSpec", "Metadata", "Resources", "Retry"]

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


class Retry(SpecModel):
    """What happens when a worker dies."""

    max_failures: Annotated[int, Field(ge=0)] = 3
    """Restarts before the run fails: of a training's workers, without a new checkpoint in between;
    on Kubernetes also of the whole Ray cluster."""
    backoff_seconds: PositiveInt = 30
    """Wait before a new Ray cluster is tried (Kubernetes); doubled each time, at most 30
    minutes."""


class JobSpec(SpecModel):
    """What the run does and where."""

    model_config = rules(
        rule(
            "self.storage == oldSelf.storage", "storage cannot be changed; submit under a new name"
        ),
        rule("self.model == oldSelf.model", "model cannot be changed; submit under a new name"),
    )

    model: str
    """Base model: alias, local path or hub id."""
    storage: str = "./runs"
    """Where the run directory lives: local path, s3://, gs://, az://, pvc://claim/path."""
    stages: list[Stage] = Field(min_length=1, max_length=64)
    """The steps; each names its inputs, so their order in the file does not matter."""
    cluster: Cluster = Cluster()
    """Workers and their resources."""
    retry: Retry = Retry()
    """Fault tolerance."""
    suspend: bool = False
    """Stop, keep everything, free the cluster; `false` goes on from there (Kubernetes)."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0)] | None = None
    """Remove the finished job's object after this time; the run directory stays (Kubernetes)."""
    active_deadline_seconds: PositiveInt | None = None
    """Fail the run when its Ray cluster has run this long (Kubernetes)."""


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

    def cluster_of(self, stage: Stage) -> Cluster:
        """Where a stage runs: its own cluster if it has one, else the run's."""
        return stage.cluster or self.spec.cluster

    def stage(self, name: str) -> Stage:
        """The stage of that name; KeyError where there is none."""
        for stage in self.spec.stages:
            if stage.name == name:
                return stage
        raise KeyError(name)
