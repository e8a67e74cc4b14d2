"""The GPUNodePool: nodes of one kind that come and go with the jobs that need them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from astrosage.spec.base import SpecModel
from astrosage.spec.cluster import PositiveInt
from astrosage.spec.job import API_VERSION
from astrosage.spec.kubernetes import ObjectName, Quantity, Toleration, Variable, rule, rules

NodeCount = Annotated[int, Field(ge=0, le=100_000)]
Money = Annotated[float, Field(ge=0)]


class PoolReference(SpecModel):
    """What stands behind the pool; which fields count depends on the driver."""

    api_version: str | None = None
    """`scale` and `karpenter`: the object's apiVersion, such as cluster.x-k8s.io/v1beta2."""
    kind: str | None = None
    """`scale`: MachineDeployment, MachineSet, MachinePool, NodePool; `karpenter`: NodePool."""
    name: str = Field(min_length=1)
    """The object's or cloud node pool's name."""
    namespace: str | None = None
    """`scale`: the object's namespace, if it has one."""
    cluster: str | None = None
    """`eks`, `gke`, `aks`: the cluster's name."""
    region: str | None = None
    """`eks`: region; `gke`: region or zone."""
    project: str | None = None
    """`gke`: the project."""
    subscription: str | None = None
    """`aks`: the subscription's id."""
    resource_group: str | None = None
    """`aks`: the resource group."""
    endpoint: str | None = Field(default=None, pattern=r"^https?://")
    """Another address of the cloud's API, such as a private endpoint."""


class Budget(SpecModel):
    """Money, in USD; what would go over it is not scaled up."""

    per_hour: Money | None = None
    """At most this much an hour for the pool's nodes together."""
    per_job: Money | None = None
    """At most this much for one job; a job that has spent it gets no more nodes."""


class Network(SpecModel):
    """How the pool's nodes talk to each other."""

    resources: dict[str, Annotated[int, Field(ge=1)]] = {}
    """Extended resources that each worker pod asks for, such as rdma/hca: 1."""
    env: list[Variable] = Field(default=[], max_length=256)
    """NCCL settings, such as NCCL_IB_HCA or NCCL_SOCKET_IFNAME."""


class PoolSpec(SpecModel):
    """Size limits, kind of node, price, and who carries changes out."""

    model_config = rules(
        rule("self.minNodes <= self.maxNodes", "minNodes is above maxNodes"),
        rule(
            "self.driver != 'scale' || "
            "(has(self.reference.apiVersion) && has(self.reference.kind))",
            "driver scale needs reference.apiVersion and reference.kind",
        ),
        rule(
            "!(self.driver in ['eks', 'gke', 'aks']) || has(self.reference.cluster)",
            "this driver needs reference.cluster",
        ),
    )

    driver: Literal["scale", "karpenter", "eks", "gke", "aks"]
    """`scale`: any object with a scale subresource (Cluster API, Karpenter's static pools);
    `karpenter`: limits of a dynamic NodePool; the others: the cloud's API."""
    reference: PoolReference
    """What is scaled."""
    min_nodes: NodeCount = 0
    """Never fewer."""
    max_nodes: Annotated[int, Field(ge=1, le=100_000)]
    """Never more."""
    gpus_per_node: Annotated[int, Field(ge=0, le=64)] = 8
    """GPUs of a node."""
    accelerator: str | None = None
    """What kind, such as H100; jobs of a pool run on it, and tables show it."""
    cpus_per_node: Annotated[float, Field(gt=0)] | None = None
    """Cores of a node that pods may use; with it, a pod that cannot fit is told of early."""
    memory_per_node: Quantity | None = None
    """Memory of a node that pods may use."""
    gpu_resource: str = "nvidia.com/gpu"
    """The GPUs' resource name."""
    price_per_hour: Money | None = None
    """USD an hour for one node."""
    spot: bool = False
    """The nodes may be taken away; cheaper, and tried first where a job allows it."""
    fallback: ObjectName | None = None
    """The pool used instead while this one cannot deliver, such as on-demand for spot."""
    idle_seconds: Annotated[int, Field(ge=0)] = 600
    """An empty node is removed after this time."""
    boot_seconds: PositiveInt = 600
    """From request to ready, images included; until then no second request is made."""
    max_step: PositiveInt | None = None
    """Nodes added at once at most (a gang is never cut); default: no limit."""
    budget: Budget = Budget()
    """Limits on money."""
    node_selector: dict[str, str] = {}
    """Labels that the pool's nodes have; pods of its jobs are bound to them."""
    tolerations: list[Toleration] = []
    """Taints that the pool's nodes have."""
    network: Network = Network()
    """RDMA and NCCL."""
    paused: bool = False
    """Look, but change nothing."""

    @model_validator(mode="after")
    def _ordered(self) -> PoolSpec:
        if self.min_nodes > self.max_nodes:
            raise PydanticCustomError(
                "range",
                "minNodes {min} is above maxNodes {max}",
                {"min": self.min_nodes, "max": self.max_nodes},
            )
        return self

    @model_validator(mode="after")
    def _reference_fits_driver(self) -> PoolSpec:
        needed = {
            "scale": ("api_version", "kind"),
            "karpenter": (),
            "eks": ("cluster",),
            "gke": ("cluster", "project", "region"),
            "aks": ("cluster", "subscription", "resource_group"),
        }[self.driver]
        missing = [n for n in needed if getattr(self.reference, n) is None]
        if missing:
            fields = ", ".join(
                f"reference.{type(self.reference).model_fields[n].alias}" for n in missing
            )
            raise PydanticCustomError(
                "reference",
                "driver {driver} needs {fields}",
                {"driver": self.driver, "fields": fields},
            )
        return self


class PoolMetadata(SpecModel):
    """Object metadata, as far as a pool needs it."""

    name: ObjectName
    """The pool's name, which jobs give as `cluster.pool`."""
    labels: dict[str, str] = {}
    """Free labels."""
    annotations: dict[str, str] = {}
    """Free annotations."""


class GPUNodePool(SpecModel):
    """Nodes of one kind, cluster-wide."""

    api_version: Literal["astrosage.io/v1alpha1"] = API_VERSION
    """Version of the format."""
    kind: Literal["GPUNodePool"] = "GPUNodePool"
    """Kind of object."""
    metadata: PoolMetadata
    """Its name."""
    spec: PoolSpec
    """What it is."""
