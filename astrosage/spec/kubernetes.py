"""What a stage's pods are told on Kubernetes; on other targets these fields do nothing."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from astrosage.spec.base import SpecModel

Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|K|M|G|T)?$")]
"""A Kubernetes quantity of bytes, for example 6Gi."""
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
"""The name of a Kubernetes object."""
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


def rule(expression: str, message: str) -> dict[str, str]:
    """A CEL rule of the custom resource: the same as a validator here, checked by the API server.

    Args:
        expression: CEL over ``self`` (and ``oldSelf``).
        message: What is told when it is false.
    """
    return {"rule": expression, "message": message}


def rules(*found: dict[str, str]) -> ConfigDict:
    """Model configuration that carries CEL rules into the schema of the custom resource."""
    extra: dict[str, Any] = {"x-kubernetes-validations": list(found)}
    return ConfigDict(json_schema_extra=extra)


class Toleration(SpecModel):
    """A taint that the pods put up with, as in a pod's spec."""

    key: str | None = None
    """The taint's key; without it, all."""
    operator: Literal["Exists", "Equal"] = "Exists"
    """`Exists` ignores the value."""
    value: str | None = None
    """The taint's value, for `Equal`."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect; without it, all."""


class SecretKey(SpecModel):
    """One key of a Secret in the job's namespace."""

    name: ObjectName
    """The Secret."""
    key: str = Field(min_length=1)
    """The key in it."""


class Variable(SpecModel):
    """An environment variable of the pods: a value, or a Secret's key."""

    model_config = rules(rule("has(self.value) != has(self.secret)", "give `value` or `secret`"))

    name: VariableName
    """Its name."""
    value: str | None = None
    """A plain value; never a secret, since everyone who may read the job sees it."""
    secret: SecretKey | None = None
    """Where a secret value comes from."""

    @model_validator(mode="after")
    def _one_origin(self) -> Variable:
        if (self.value is None) == (self.secret is None):
            raise PydanticCustomError("exclusive", "give exactly one of `value` and `secret`")
        return self


class Head(SpecModel):
    """The pod of the Ray head, which runs the driver and no training."""

    cpu: Annotated[float, Field(gt=0)] = 2
    """CPU cores."""
    memory: Quantity = "8Gi"
    """Request and limit: a head that is killed for memory takes the job with it."""
    node_selector: dict[str, str] = {}
    """Labels of the nodes it may run on; keep it off nodes that are taken away."""


class Kubernetes(SpecModel):
    """Pod options, for those who need them; the operator's settings give the defaults."""

    image: str | None = Field(default=None, min_length=1)
    """Ray image with this project in it."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """Kubernetes' own default if not given."""
    image_pull_secrets: list[ObjectName] | None = None
    """Secrets for the registry."""
    service_account: ObjectName | None = None
    """Pods run as this; also how workload identity reaches an object store."""
    priority_class: ObjectName | None = None
    """Which pods go first when room is short."""
    node_selector: dict[str, str] = {}
    """Labels of the nodes that workers may run on, next to the pool's."""
    tolerations: list[Toleration] = []
    """Taints that workers put up with, next to the pool's and that of GPUs."""
    env: list[Variable] = Field(default=[], max_length=256)
    """Environment variables of all pods."""
    env_from_secrets: list[ObjectName] = []
    """Secrets all of whose keys become environment variables, such as object-store credentials."""
    head: Head = Head()
    """The head pod."""
    shared_memory: Quantity | None = None
    """Size of /dev/shm (counts as memory); default: a quarter of a worker pod's memory."""
    scheduler: Literal["default", "volcano", "yunikorn", "kai", "scheduler-plugins"] = "default"
    """Gang scheduler, as KubeRay was set up with; `default` has none."""
    termination_grace_seconds: Annotated[int, Field(ge=0, le=3600)] = 120
    """Time for a checkpoint when a node is taken away."""
    pod_labels: dict[str, str] = {}
    """More labels of all pods."""
    pod_annotations: dict[str, str] = {}
    """More annotations of all pods."""
