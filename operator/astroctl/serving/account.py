"""What a RayService does, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from astroctl.kube import pods as kube_pods
from astroctl.kube.client import Kube, Object
from astroctl.kube.resources import POD
from astroctl.render.names import RAY_CLUSTER, RAY_NODE_TYPE


@dataclass(frozen=True)
class Account:
    """An endpoint's state.

    Attributes:
        status: ``RUNNING``, ``UPDATING``, ``STARTING`` or ``FAILED``.
        message: What it waits for, or why it failed.
        hint: What would help.
        hopeless: Waiting alone will not help.
    """

    status: str
    message: str = ""
    hint: str = ""
    hopeless: bool = False


def account(service: Object, pods: Sequence[Object], events: dict[str, list[Object]]) -> Account:
    """The state of an endpoint.

    Args:
        service: The RayService.
        pods: Those of the cluster that comes next, else of the present one.
        events: Of the pods that wait, by name.
    """
    status = service.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or []}
    seen = int(status.get("observedGeneration") or 0)
    current = seen >= int(service["metadata"].get("generation") or 0)
    upgrading = conditions.get("UpgradeInProgress", {}).get("status") == "True"
    ready = conditions.get("Ready", {}).get("status") == "True"
    newest = _newest(status)
    applications = newest.get("applicationStatuses") or {}
    bad = _failed(applications)
    if bad and current:
        return Account("FAILED", bad, "its whole account is in the head pod's Serve logs", True)
    deployed = bool(applications) and all(a["status"] == "RUNNING" for a in applications.values())
    if ready and current and deployed and not upgrading:
        return Account("RUNNING")
    message = _waits_for(newest, pods, events, applications)
    state = "UPDATING" if ready else "STARTING"
    return Account(state, message.message, message.hint, message.hopeless)


def observe(kube: Kube, service: Object) -> Account:
    """The state of an endpoint, with a look at its pods."""
    newest = _newest(service.get("status") or {})
    cluster = newest.get("rayClusterName")
    namespace = service["metadata"]["namespace"]
    found = kube.list(POD, namespace, labels=f"{RAY_CLUSTER}={cluster}") if cluster else []
    found.sort(key=lambda p: (p["metadata"]["labels"].get(RAY_NODE_TYPE) != "head", _name(p)))
    late = [p for p in found if not kube_pods.is_ready(p)][:1]
    return account(service, found, {_name(p): kube_pods.events_of(kube, p) for p in late})


def cluster_of(service: Object) -> str | None:
    """The RayCluster that answers requests now."""
    active = (service.get("status") or {}).get("activeServiceStatus") or {}
    return active.get("rayClusterName")


def _newest(status: dict[str, Any]) -> dict[str, Any]:
    """The cluster that comes next, else the present one."""
    pending = status.get("pendingServiceStatus") or {}
    active: dict[str, Any] = status.get("activeServiceStatus") or {}
    return pending if pending.get("rayClusterName") else active


def _failed(applications: dict[str, Any]) -> str:
    for found in applications.values():
        if found.get("status") == "DEPLOY_FAILED":
            deployments = (found.get("serveDeploymentStatuses") or {}).values()
            said = [found.get("message"), *(d.get("message") for d in deployments)]
            return f"the model cannot be served: {_last_line(next((s for s in said if s), ''))}"
    return ""


def _waits_for(
    newest: dict[str, Any],
    pods: Sequence[Object],
    events: dict[str, list[Object]],
    applications: dict[str, Any],
) -> kube_pods.Waiting:
    if not newest.get("rayClusterName"):
        return kube_pods.Waiting(
            "KubeRay has not made its Ray cluster yet",
            "if that lasts: does KubeRay run? `astroctl doctor --target kubernetes`",
        )
    if not pods:
        return kube_pods.Waiting("its pods are not made yet", "a quota or an admission may forbid")
    for pod in pods:
        if not kube_pods.is_ready(pod) and kube_pods.phase(pod) != "Running":
            waits = kube_pods.waiting(pod, events.get(_name(pod)))
            return kube_pods.Waiting(f"{_name(pod)}: {waits.message}", waits.hint, waits.hopeless)
    ready = sum(kube_pods.is_ready(p) for p in pods)
    for found in applications.values():
        if found.get("status") != "RUNNING":
            said = _last_line(str(found.get("message") or ""))
            told = f": {said}" if said else ""
            return kube_pods.Waiting(f"the model is being loaded ({found.get('status')}){told}")
    if not applications:
        return kube_pods.Waiting(f"Ray starts ({ready} of {len(pods)} pods are ready)")
    return kube_pods.Waiting(f"traffic moves to it ({ready} of {len(pods)} pods are ready)")


def _name(pod: Object) -> str:
    return str(pod["metadata"]["name"])


def _last_line(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[-1][:400] if lines else ""
