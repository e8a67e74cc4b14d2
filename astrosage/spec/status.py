"""What the operator tells of jobs and pools: the `status` of the custom resources."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from astrosage.spec.base import SpecModel

Phase = Literal["Pending", "Running", "Suspended", "Succeeded", "Failed", "Stopped"]
"""The phases a person sees; the conditions say why."""


class Condition(SpecModel):
    """A Kubernetes condition (metav1.Condition)."""

    type: str = Field(max_length=316)
    """Accepted, CapacityReady, Running, Succeeded, Failed, Stopped, SpecApplied."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[str, Field(pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """Why, in one word."""
    message: str = Field(default="", max_length=32768)
    """Why, for people, with what to do."""
    last_transition_time: str
    """When `status` changed last (RFC 3339)."""
    observed_generation: int | None = None
    """The generation of the object that it was found for."""


class StageStatus(SpecModel):
    """One stage."""

    name: str
    """Its name."""
    kind: str | None = None
    """prepare, train, merge or bench."""
    phase: str
    """pending, running, finished, skipped, failed or stopped."""
    seconds: float | None = None
    """How long it ran."""


class Progress(SpecModel):
    """The run directory's account (progress.json), last seen."""

    stage: str | None = None
    """The stage that runs."""
    step: int | None = None
    """Steps done in it."""
    total: int | None = None
    """Steps it has."""
    unit: str | None = None
    """What a step is."""
    tokens: int | None = None
    """Tokens trained on."""
    loss: float | None = None
    """Training loss."""
    tokens_per_second: float | None = None
    """Speed."""
    mfu: float | None = None
    """Model FLOP utilisation, 0 to 1."""
    eta_seconds: float | None = None
    """Until the stage ends."""
    checkpoint: str | None = None
    """Newest checkpoint."""
    heartbeat: str | None = None
    """The driver's last sign of life (RFC 3339)."""


class RayJobStatus(SpecModel):
    """The RayJob of one group of stages that share a cluster."""

    name: str
    """The newest RayJob's name."""
    stages: list[str] = []
    """The stages it runs."""
    attempt: int = 1
    """From 1; a failed one is followed by another."""
    state: str = ""
    """Active, Succeeded, Failed or Stopped."""
    cluster: str | None = None
    """Its RayCluster."""
    content: str | None = None
    """Hash of what it and those before it make; when it changes, they run again."""


class Failure(SpecModel):
    """The error that ended the run."""

    type: str
    """Its family, such as DataError."""
    message: str
    """What was wrong."""
    hint: str = ""
    """What to do."""
    retryable: bool = False
    """Whether trying again can help."""


class JobStatus(SpecModel):
    """Status of an AstroJob."""

    phase: Phase = "Pending"
    """Where it stands."""
    reason: str = ""
    """The deciding condition's reason."""
    message: str = ""
    """The deciding condition's message."""
    observed_generation: int | None = None
    """The newest generation looked at."""
    conditions: list[Condition] = []
    """Accepted, CapacityReady, Running, and one of Succeeded, Failed, Stopped."""
    run_directory: str | None = None
    """Where everything that the run did lies."""
    ray_jobs: list[RayJobStatus] = []
    """One for each group of stages that share a cluster, in order."""
    stages: list[StageStatus] = []
    """The stages, in order."""
    progress: Progress | None = None
    """Live figures."""
    failures: int = 0
    """Attempts that failed and were tried again."""
    retry_at: str | None = None
    """When the next attempt starts (RFC 3339)."""
    cost_usd: float | None = Field(default=None, alias="costUSD")
    """Spent so far, where prices are known."""
    last_checkpoint: str | None = None
    """Newest checkpoint, from which a resume goes on."""
    error: Failure | None = None
    """Why it failed."""
    observed_retry: str | None = None
    """The `astrosage.io/retry` annotation that was obeyed last."""
    start_time: str | None = None
    """When the first attempt started (RFC 3339)."""
    completion_time: str | None = None
    """When it ended (RFC 3339)."""


class PoolStatus(SpecModel):
    """Status of a GPUNodePool."""

    current: int | None = None
    """Nodes that the driver reports."""
    desired: int | None = None
    """Nodes wanted."""
    ready: int | None = None
    """Nodes that are ready."""
    pending_gpus: int | None = Field(default=None, alias="pendingGPUs")
    """GPUs asked for by pods that wait for this pool."""
    spend_usd: float | None = Field(default=None, alias="spendUSD")
    """Spent since the pool was first seen, at its price."""
    price_per_hour: float | None = None
    """USD an hour for what runs now."""
    last_scale_time: str | None = None
    """When the size was changed last (RFC 3339)."""
    last_scale_seconds: float | None = None
    """How long the last scale-up took until its nodes were ready."""
    spend_time: str | None = None
    """Until when spending is counted (RFC 3339)."""
    asked: int | None = None
    """The size of a scale-up that is under way."""
    memory: str | None = None
    """What the policy remembers from one round to the next, as JSON."""
    observed_generation: int | None = None
    """The newest generation looked at."""
    conditions: list[Condition] = []
    """Ready (the driver can be asked), Scaling, Limited (maximum, budget, or no delivery)."""
