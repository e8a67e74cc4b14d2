"""How a new version of an endpoint takes the place of the old one, by the room that there is."""

from __future__ import annotations

from dataclasses import dataclass

from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import ApiError, NoSuchKind
from astroctl.kube.resources import NODE, POD
from astroctl.render.rayservice import Strategy
from astroctl.render.shape import Shape
from astrosage.errors import AstroError

CHOICES = ("auto", "new-cluster", "incremental", "recreate")
_GATEWAY_CLASSES = "/apis/gateway.networking.k8s.io/v1/gatewayclasses"


@dataclass(frozen=True)
class Upgrade:
    """A strategy and why.

    Attributes:
        strategy: For the RayService.
        reason: For people.
    """

    strategy: Strategy
    reason: str

    @property
    def recreates(self) -> bool:
        """Whether the old version ends before the new one starts."""
        return self.strategy.kind == "None"


def choose(
    kube: Kube, form: Shape, selector: dict[str, str] | None = None, growth: int = 0
) -> Upgrade:
    """The way that interrupts least and fits.

    A whole second cluster beside the first where there is room for it; else one that grows as the
    first shrinks, where the cluster can split traffic; else the first ends before the second
    starts.

    Args:
        kube: The cluster.
        form: The endpoint's worker pods.
        selector: Labels of the nodes that they may run on.
        growth: How many more would fit on nodes that their pool may still add.
    """
    if not form.gpus:
        return Upgrade(Strategy(), "the new version starts beside the old one, then takes over")
    pods = form.max_pods
    room = free_places(kube, form, selector or {})
    if room is None:
        return Upgrade(
            Strategy(),
            "the new version starts beside the old one, if there are GPUs for it (this account "
            "may not see nodes)",
        )
    told = f"{room} of its {pods} pods (with {form.gpus} GPUs each) would find a node now"
    if growth:
        room += growth
        told += f", {growth} more on nodes that the pool may add"
    if room >= pods:
        return Upgrade(
            Strategy(), f"the new version starts beside the old one, then takes over: {told}"
        )
    if form.elastic and (gateway := gateway_class(kube)):
        return Upgrade(
            Strategy("NewClusterWithIncrementalUpgrade", gateway),
            f"the new version grows as the old one shrinks: {told}",
        )
    return Upgrade(
        Strategy("None"),
        f"the old version ends before the new one starts, nothing is served meanwhile: {told}",
    )


def forced(kube: Kube, choice: str) -> Upgrade:
    """What a person asks for.

    Raises:
        AstroError: If the cluster cannot do it.
    """
    if choice == "new-cluster":
        return Upgrade(Strategy(), "the new version starts beside the old one, then takes over")
    if choice == "recreate":
        return Upgrade(Strategy("None"), "the old version ends before the new one starts")
    gateway = gateway_class(kube)
    if gateway is None:
        raise AstroError(
            "--upgrade incremental needs the Gateway API, and the cluster has no GatewayClass",
            "install a gateway controller, or choose new-cluster or recreate",
        )
    return Upgrade(
        Strategy("NewClusterWithIncrementalUpgrade", gateway),
        "the new version grows as the old one shrinks",
    )


def free_places(kube: Kube, form: Shape, selector: dict[str, str]) -> int | None:
    """How many such pods would find their GPUs free now; None where nodes may not be seen."""
    try:
        nodes = kube.list(NODE)
        pods = kube.list(POD, fields="status.phase!=Succeeded,status.phase!=Failed")
    except ApiError:
        return None
    used: dict[str, int] = {}
    for pod in pods:
        node = pod["spec"].get("nodeName")
        if node:
            used[node] = used.get(node, 0) + gpus_of(pod, form.gpu_resource)
    places = 0
    for node in nodes:
        labels = node["metadata"].get("labels") or {}
        fits = all(labels.get(k) == v for k, v in selector.items())
        if not fits or node["spec"].get("unschedulable") or not _is_ready(node):
            continue
        has = int(node.get("status", {}).get("allocatable", {}).get(form.gpu_resource, 0))
        places += max(0, has - used.get(node["metadata"]["name"], 0)) // form.gpus
    return places


def gpus_of(pod: Object, resource: str) -> int:
    """GPUs that a pod holds."""
    return sum(
        int((c.get("resources", {}).get("limits") or {}).get(resource, 0))
        for c in pod["spec"]["containers"]
    )


def gateway_class(kube: Kube) -> str | None:
    """An accepted GatewayClass, if the cluster has the Gateway API."""
    try:
        found = kube.request("GET", _GATEWAY_CLASSES).get("items") or []
    except (NoSuchKind, ApiError):
        return None
    for one in found:
        conditions = one.get("status", {}).get("conditions") or []
        if any(c["type"] == "Accepted" and c["status"] == "True" for c in conditions):
            return str(one["metadata"]["name"])
    return None


def _is_ready(node: Object) -> bool:
    conditions = node.get("status", {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
