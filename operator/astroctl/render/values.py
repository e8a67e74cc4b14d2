"""The chart's values: ``values.yaml``, its schema and its reference page are made from these.

What an operator reads at run time is :class:`astroctl.render.settings.Settings`, and part of them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from astroctl.render.settings import Settings
from astrosage.serve.keys import Rates
from astrosage.spec.base import SpecModel
from astrosage.spec.cluster import Elastic, PositiveInt, Resources
from astrosage.spec.kubernetes import ObjectName, Quantity, Toleration

DERIVED_SETTINGS = ("poolsEnabled", "watchNamespaces")
"""Settings that follow from other values, and so are not given as settings."""
Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$", max_length=253)]
"""The name of a Kubernetes object, or nothing."""
Duration = Annotated[str, Field(pattern=r"^[0-9]+(ms|s|m|h|d)$")]
"""Prometheus' way to write a time, such as 30m."""
Labels = dict[str, str]
Peers = list[dict[str, Any]]
"""Peers of a NetworkPolicy: `namespaceSelector`, `podSelector`, `ipBlock`."""
_ANYWHERE: Peers = [{"namespaceSelector": {}}]


class Image(SpecModel):
    """The operator's image; `images/operator` builds it."""

    repository: str = Field(default="astrosage/operator", min_length=1)
    """Registry and name."""
    tag: str = Field(default="", pattern=r"^[A-Za-z0-9_.-]*$")
    """Default: the chart's appVersion."""
    digest: str = Field(default="", pattern=r"^(sha256:[0-9a-f]{64})?$")
    """Used instead of the tag where given."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When the image is pulled."""


class Definitions(SpecModel):
    """The custom resource definitions of AstroJob and GPUNodePool."""

    install: bool = True
    """Install and upgrade them; false where another release or tool does."""
    keep: bool = True
    """Leave them on uninstall: with them would go all jobs and pools of the cluster."""


class Account(SpecModel):
    """A service account."""

    create: bool = True
    """Make it; false where it exists."""
    name: Name = ""
    """Its name; default: the release's name with -operator."""
    annotations: Labels = {}
    """Such as the role of a workload identity."""


class JobsAccount(SpecModel):
    """The service account of jobs' pods, in every namespace that is known to the chart."""

    create: bool = True
    """Make it, and let jobs use it. Not used with `watchAllNamespaces`: it would be missing
    elsewhere; give `settings.serviceAccount` there."""
    name: ObjectName = "astrosage-jobs"
    """Its name."""
    annotations: Labels = {}
    """Such as the role of a workload identity that may read and write the storage."""


class PodResources(SpecModel):
    """Requests and limits of a container."""

    requests: dict[str, str | int | float] = {"cpu": "100m", "memory": "256Mi"}
    """What it is sure to get."""
    limits: dict[str, str | int | float] = {"memory": "1Gi"}
    """What it may use."""


class Operator(SpecModel):
    """The operator's pods."""

    replicas: Annotated[int, Field(ge=0, le=5)] = 2
    """One leads, the others wait to take over."""
    resources: PodResources = PodResources()
    """Of each."""
    service_account: Account = Account()
    """Whose rights it has."""
    pod_disruption_budget: bool = True
    """Never drain more than one at a time (with two replicas or more)."""
    priority_class_name: Name = ""
    """Such as system-cluster-critical."""
    node_selector: Labels = {}
    """Nodes that it may run on."""
    tolerations: list[Toleration] = []
    """Taints that it puts up with."""
    affinity: dict[str, Any] = {}
    """As in a pod's spec; the replicas are spread over nodes and zones anyway."""
    pod_labels: Labels = {}
    """More labels."""
    pod_annotations: Labels = {}
    """More annotations."""
    env: list[dict[str, Any]] = []
    """More environment variables, as in a container's spec."""
    env_from_secrets: list[ObjectName] = []
    """Secrets whose keys become environment variables, such as a cloud's credentials for pools."""


class Jobs(SpecModel):
    """What jobs find in their namespaces."""

    service_account: JobsAccount = JobsAccount()
    """Their pods' account; it has no rights in the cluster."""


class ScaleTarget(SpecModel):
    """Kinds of object that stand behind pools."""

    api_group: str = Field(min_length=1)
    """Their API group."""
    resources: list[Annotated[str, Field(min_length=1)]] = Field(min_length=1)
    """Their plural names."""


class Pools(SpecModel):
    """GPU node pools; they need rights in the whole cluster, so they are off by default."""

    enabled: bool = False
    """Watch GPUNodePools and scale what stands behind them."""
    scale: list[ScaleTarget] = [
        ScaleTarget(
            api_group="cluster.x-k8s.io",
            resources=["machinedeployments", "machinesets", "machinepools"],
        ),
        ScaleTarget(api_group="karpenter.sh", resources=["nodepools"]),
    ]
    """What the operator may scale (drivers `scale` and `karpenter`); leave out what the cluster
    does not have. The clouds' drivers need no right here, but their cloud's."""


class SharedStorage(SpecModel):
    """A volume claim for runs, in every namespace that is known to the chart."""

    create: bool = False
    """Make it, and use it for jobs that name no storage."""
    name: ObjectName = "astrosage-storage"
    """Its name."""
    size: Quantity = "500Gi"
    """How much."""
    storage_class_name: Name = ""
    """Default: the cluster's."""
    access_modes: list[Literal["ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"]] = Field(
        default=["ReadWriteMany"], min_length=1
    )
    """ReadWriteMany, unless all of a job's pods fit on one node."""
    keep: bool = True
    """Leave it, with all runs, on uninstall."""


class Ingress(SpecModel):
    """An Ingress before the endpoint."""

    enabled: bool = False
    """Make it."""
    class_name: Name = ""
    """The ingress class."""
    host: str = ""
    """The host name; needed."""
    path: str = Field(default="/", pattern="^/")
    """Path prefix."""
    tls_secret: Name = ""
    """Secret with the certificate; without it, keys cross the network in the clear."""
    annotations: Labels = {}
    """For the ingress controller, such as a longer read timeout."""


class Route(SpecModel):
    """An HTTPRoute of the Gateway API before the endpoint."""

    enabled: bool = False
    """Make it."""
    parents: list[dict[str, Any]] = []
    """`parentRefs`: the gateways; needed."""
    hostnames: list[str] = []
    """Host names."""
    path: str = Field(default="/", pattern="^/")
    """Path prefix."""
    timeout: Duration = "600s"
    """For one request; long answers are streamed."""
    annotations: Labels = {}
    """For the gateway."""


class EndpointLimits(SpecModel):
    """Limits of each replica; the server's own where left out."""

    max_concurrent: PositiveInt | None = None
    """Sequences that are generated at once."""
    max_queue: Annotated[int, Field(ge=0)] | None = None
    """Sequences that may wait for their turn; more are refused (429)."""
    max_tokens: PositiveInt | None = None
    """Most new tokens that one sequence may ask for."""
    max_body_bytes: PositiveInt | None = None
    """Largest request body."""
    request_timeout_seconds: PositiveInt | None = None
    """Seconds in which an answer must be whole (else 504)."""
    queue_timeout_seconds: PositiveInt | None = None
    """Seconds that a sequence may wait for its turn (else 503)."""
    drain_seconds: Annotated[int, Field(ge=0)] | None = None
    """Seconds that the last answers of a replica get when it is replaced."""
    rate_limits: Rates | None = None
    """What each key may use that has no limits of its own; each replica counts for itself."""


class Upgrade(SpecModel):
    """How a new version of the endpoint takes the place of the old one."""

    type: Literal["NewCluster", "NewClusterWithIncrementalUpgrade", "None"] = "NewCluster"
    """`NewCluster`: a second cluster beside the first, which needs as many GPUs again; the
    incremental one grows as the first shrinks (needs `replicas: {min, max}` and a Gateway);
    `None`: changes of the pods wait until the RayService is made anew."""
    gateway_class: Name = ""
    """GatewayClass of the incremental one."""


class Endpoint(SpecModel):
    """A model behind HTTP: a RayService in the release's namespace, as `astroctl serve` makes."""

    enabled: bool = False
    """Make it; KubeRay must be there."""
    name: Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=47)] = "endpoint"
    """The RayService's name."""
    model: str = ""
    """An alias, a hub id, s3://… (fetched when a replica starts) or pvc://claim/path (mounted
    read-only), such as pvc://astrosage-storage/team-a/astro-mini/stages/sft/model; needed."""
    model_id: str = ""
    """Its name in the API; default: the endpoint's name."""
    keys_secret: Name = ""
    """A Secret of the release's namespace, each of whose values is an API key; needed."""
    ray_token_secret: Name = ""
    """A Secret with Ray's own token under `auth_token`; default: the chart makes one, with a token
    that stays. Give one where the chart is rendered without looking at the cluster (GitOps)."""
    replicas: PositiveInt | Elastic = 1
    """Copies of the model, each in a pod of its own; `{min, max}` follows the requests."""
    resources_per_replica: Resources = Resources(cpu=4, gpu=1, memory="32Gi")
    """What each copy gets."""
    shared_memory: Quantity = "8Gi"
    """Size of each copy's /dev/shm; counts as memory."""
    node_selector: Labels = {}
    """Labels of the nodes that copies may run on."""
    tolerations: list[Toleration] = []
    """Taints that copies put up with, next to that of GPUs."""
    limits: EndpointLimits = EndpointLimits()
    """Limits of each copy."""
    upgrade: Upgrade = Upgrade()
    """How it is replaced."""
    ingress: Ingress = Ingress()
    """Way in from outside."""
    route: Route = Route()
    """Another way in from outside."""


class ApiServer(SpecModel):
    """Where the API server is: policies see its own address, not its service's."""

    cidrs: list[str] = []
    """Its addresses (`kubectl get endpoints kubernetes`); without them, its ports anywhere."""
    ports: list[Port] = Field(default=[443, 6443], min_length=1)
    """Its ports."""


class OperatorNetwork(SpecModel):
    """The operator's traffic."""

    extra_egress: list[dict[str, Any]] = []
    """More egress rules."""


class StorageNetwork(SpecModel):
    """Where jobs reach object stores and model hubs."""

    cidrs: list[str] = ["0.0.0.0/0", "::/0"]
    """Address ranges; link-local addresses are never in the first one."""
    peers: Peers = []
    """Object stores inside the cluster."""
    ports: list[Port] = Field(default=[443], min_length=1)
    """Ports; an object store inside the cluster often has another, such as 9000."""


class JobsNetwork(SpecModel):
    """The traffic of Ray's pods."""

    enabled: bool = True
    """Policies for them, in every namespace that is known to the chart."""
    storage: StorageNetwork = StorageNetwork()
    """Object stores and hubs."""
    instance_metadata: bool = False
    """Reach the cloud's metadata service: GKE's workload identity and EKS' pod identity need it."""
    extra_egress: list[dict[str, Any]] = []
    """More egress rules."""
    extra_ingress: list[dict[str, Any]] = []
    """More ingress rules."""


class NetworkPolicies(SpecModel):
    """Who may talk to whom: what is selected may do only what is said here."""

    enabled: bool = True
    """Make them; they need a network that enforces them."""
    deny_rest: bool = False
    """Also deny everything to other pods of the release's namespace. Not where KubeRay or Kueue
    run in it without policies of their own."""
    dns: Peers = [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}},
        {"ipBlock": {"cidr": "169.254.20.10/32"}},
    ]
    """The name servers; the second is that of NodeLocal DNSCache."""
    api_server: ApiServer = ApiServer()
    """The API server."""
    kuberay: Peers = [
        {
            "namespaceSelector": {},
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "kuberay-operator"}},
        }
    ]
    """KubeRay's operator, which submits jobs to Ray."""
    monitoring: Peers = _ANYWHERE
    """Who may read figures."""
    clients: Peers = _ANYWHERE
    """Who may ask the endpoint (besides, a key is needed)."""
    operator: OperatorNetwork = OperatorNetwork()
    """The operator's traffic."""
    jobs: JobsNetwork = JobsNetwork()
    """The traffic of jobs."""


class Monitor(SpecModel):
    """A ServiceMonitor or PodMonitor of the Prometheus operator."""

    enabled: bool = False
    """Make it; its definition must be there."""
    interval: Duration = "30s"
    """How often."""
    labels: Labels = {}
    """What Prometheus selects it by, such as release: prometheus."""


class Alerts(SpecModel):
    """A PrometheusRule."""

    enabled: bool = False
    """Make it; its definition must be there."""
    labels: Labels = {}
    """What Prometheus selects it by."""
    heartbeat_seconds: Annotated[int, Field(ge=60)] = 600
    """A job that runs and gives no sign of life for so long is stalled."""
    mfu_drop_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.7
    """A job slower than this part of its speed in the last two hours."""
    idle_for: Duration = "30m"
    """GPUs that do nothing for so long."""
    pending_for: Duration = "30m"
    """A job that waits for so long."""
    scale_up_for: Duration = "45m"
    """A pool that has wanted nodes for so long."""
    budget_ratio: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Part of a pool's budget an hour."""
    errors_per_second: Annotated[float, Field(gt=0)] = 0.1
    """Errors of the operator."""
    reconcile_seconds: Annotated[float, Field(gt=0, lt=30)] = 10
    """Slowest hundredth of the operator's work."""


class Dashboards(SpecModel):
    """Grafana dashboards, as ConfigMaps for its sidecar."""

    enabled: bool = False
    """Make them."""
    labels: Labels = {"grafana_dashboard": "1"}
    """What the sidecar looks for."""
    annotations: Labels = {}
    """Such as the folder, grafana_folder: AstroSage."""


class Monitoring(SpecModel):
    """Figures, alerts, dashboards."""

    service_monitor: Monitor = Monitor()
    """The operator's figures."""
    pod_monitor: Monitor = Monitor()
    """Ray's figures of every job: nodes, GPUs, object store, training."""
    alerts: Alerts = Alerts()
    """What someone should hear of."""
    dashboards: Dashboards = Dashboards()
    """What someone should see."""


class Subject(SpecModel):
    """Whom a role is given to."""

    kind: Literal["User", "Group", "ServiceAccount"]
    """What kind of subject."""
    name: str = Field(min_length=1)
    """Its name."""
    namespace: Name | None = None
    """Of a ServiceAccount."""
    api_group: Literal["", "rbac.authorization.k8s.io"] | None = None
    """rbac.authorization.k8s.io for users and groups."""


class Rights(SpecModel):
    """Roles."""

    create: bool = True
    """Make the operator's roles; false where someone else does."""
    aggregate: bool = True
    """Let everyone who may edit a namespace run jobs in it, and who may view it see them. The roles
    are cluster-wide: a second installation turns this off."""
    read_nodes: bool = False
    """Let the operator list nodes, cluster-wide, so that it says more of why a job waits: taints,
    free GPUs. With pools it may anyway."""
    readers: list[Subject] = [
        Subject(kind="Group", name="system:authenticated", api_group="rbac.authorization.k8s.io")
    ]
    """Who may read the operator's settings, its lease and the pools: what astroctl looks at before
    it submits. There are no secrets in them."""


class Tests(SpecModel):
    """What `helm test` runs: `astroctl doctor`, in the cluster."""

    enabled: bool = True
    """Have it."""


class Values(SpecModel):
    """All values of the chart."""

    image: Image = Image()
    """The operator's image."""
    image_pull_secrets: list[ObjectName] = []
    """Secrets for the registry of the operator's image."""
    name_override: Annotated[str, Field(max_length=40)] = ""
    """Instead of the chart's name."""
    fullname_override: Annotated[str, Field(max_length=40)] = ""
    """Instead of the release's name."""
    common_labels: Labels = {}
    """Labels of all objects."""
    crds: Definitions = Definitions()
    """Custom resource definitions."""
    watch_namespaces: list[ObjectName] = []
    """Namespaces with jobs, next to the release's own. They must exist."""
    watch_all_namespaces: bool = False
    """Jobs in any namespace: the operator's roles are then cluster-wide."""
    operator: Operator = Operator()
    """The operator."""
    settings: Settings = Settings()
    """What the operator gives to jobs that do not say otherwise."""
    jobs: Jobs = Jobs()
    """What jobs find."""
    pools: Pools = Pools()
    """GPU node pools."""
    shared_storage: SharedStorage = SharedStorage()
    """A volume for runs."""
    endpoint: Endpoint = Endpoint()
    """A served model."""
    network_policy: NetworkPolicies = NetworkPolicies()
    """Who may talk to whom."""
    monitoring: Monitoring = Monitoring()
    """Figures, alerts, dashboards."""
    rbac: Rights = Rights()
    """Roles."""
    tests: Tests = Tests()
    """`helm test`."""
    global_: dict[str, Any] = Field(default={}, alias="global")
    """Values of a parent chart; not used here."""
