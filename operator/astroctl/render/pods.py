"""Pod templates of a Ray cluster's head and workers.

KubeRay completes them: it writes the command, probes, ports, Ray's addresses and token, and an init
container that waits for the head. Volumes that it would add itself are left out of ours or named as
it names them, so that nothing is mounted twice.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from astroctl.render import environment, quantity
from astroctl.render.draining import drain_hook
from astroctl.render.names import LABEL_POOL, RAY_CONTAINER, recommended_labels
from astroctl.render.placement import head_placement, worker_placement
from astroctl.render.security import container_security, pod_security
from astroctl.render.settings import Settings
from astroctl.render.shape import Shape, shape
from astroctl.render.storage import PodStorage
from astrosage.spec.cluster import Cluster
from astrosage.spec.kubernetes import Head
from astrosage.spec.pool import GPUNodePool
from astrosage.units import parse_bytes

SERVICE_ACCOUNT_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_VOLUME = "autoscaler-token"
_TOKEN_SECONDS = 3600
_HEAD_GRACE_SECONDS = 30
_SHORTEST_GRACE_SECONDS = 10
_KEEP = {
    "karpenter.sh/do-not-disrupt": "true",
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
}


@dataclass(frozen=True)
class PodContext:
    """What the pods of one Ray cluster have in common.

    Attributes:
        instance: Name of the job or endpoint they belong to.
        cluster: What is asked for.
        settings: The installation's.
        storage: How they reach storage.
        labels: Of all pods, next to those that everything has.
        pool: The pool that the cluster names.
        fallback: A pool whose nodes do as well.
        drains: Whether workers wait for a checkpoint before they end; otherwise Ray drains them
            itself, as it does for Ray Serve.
    """

    instance: str
    cluster: Cluster
    settings: Settings
    storage: PodStorage
    labels: dict[str, str] = field(default_factory=dict)
    pool: GPUNodePool | None = None
    fallback: GPUNodePool | None = None
    drains: bool = True

    @property
    def form(self) -> Shape:
        """The worker pods."""
        return shape(self.cluster, self.pool)

    @property
    def image(self) -> str:
        """The image of all containers."""
        return self.cluster.kubernetes.image or self.settings.image

    @property
    def service_account(self) -> str | None:
        """What pods run as."""
        return self.cluster.kubernetes.service_account or self.settings.service_account

    @property
    def drain_env(self) -> dict[str, str]:
        """Variables that keep Ray from draining by itself, where the hook does it."""
        return environment.NO_DRAIN if self.drains else {}

    @property
    def head(self) -> Head:
        """The head: fields that the job leaves at the built-in values are the installation's.

        The API server fills defaults in, so what was left out cannot be told from what was written.
        """
        mine, built_in = self.cluster.kubernetes.head, Head()
        chosen = {
            name: getattr(mine, name)
            for name in Head.model_fields
            if getattr(mine, name) != getattr(built_in, name)
        }
        return self.settings.head.model_copy(update=chosen)


def head_template(context: PodContext) -> dict[str, Any]:
    """The head's pod: it runs the driver, and neither tasks nor training."""
    head = context.head
    memory = parse_bytes(head.memory)
    container = _container(
        context,
        environment.head_env(
            context.cluster, context.settings, context.storage.env, context.drain_env
        ),
        _resources(context.settings, head.cpu, memory),
    )
    spec = _pod(context, container, memory // 4)
    spec |= head_placement(head)
    spec["terminationGracePeriodSeconds"] = _HEAD_GRACE_SECONDS
    if context.form.elastic:
        spec["volumes"].append(_token_volume())
    return {"metadata": _metadata(context, "head"), "spec": spec}


def worker_template(context: PodContext) -> dict[str, Any]:
    """A worker's pod."""
    form, pool, settings = context.form, context.pool, context.settings
    network = dict(pool.spec.network.resources) if pool else {}
    container = _container(
        context,
        environment.worker_env(
            context.cluster, form, settings, context.storage.env, pool, context.drain_env
        ),
        _resources(settings, form.cpu, form.memory, _devices(form, network)),
        # RDMA pins the memory that it reads and writes.
        ["IPC_LOCK"] if network and settings.ipc_lock else [],
    )
    grace = max(context.cluster.kubernetes.termination_grace_seconds, _SHORTEST_GRACE_SECONDS)
    hook = drain_hook(grace) if context.drains else None
    if hook:
        container["lifecycle"] = hook
    metadata = _metadata(context, "worker")
    spec = _pod(context, container, form.shared_memory)
    spec |= worker_placement(
        context.cluster, form, settings, metadata["labels"], pool, context.fallback
    )
    spec["terminationGracePeriodSeconds"] = grace
    return {"metadata": metadata, "spec": spec}


def autoscaler_options(settings: Settings) -> dict[str, Any]:
    """The autoscaler's container in the head pod of an elastic cluster.

    It alone gets a token for Kubernetes' API, which KubeRay allows to change this RayCluster and
    its pods; the driver beside it, which runs the job's code, has none.
    """
    wanted = settings.autoscaler
    return {
        "version": "v2",
        "idleTimeoutSeconds": wanted.idle_seconds,
        "upscalingMode": "Default",
        "resources": _resources(settings, wanted.cpu, parse_bytes(wanted.memory)),
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": TOKEN_VOLUME, "mountPath": SERVICE_ACCOUNT_MOUNT, "readOnly": True}
        ],
    }


def _metadata(context: PodContext, component: str) -> dict[str, Any]:
    asked = context.cluster.kubernetes
    labels = {
        **asked.pod_labels,
        **recommended_labels(context.instance, component),
        **context.labels,
    }
    if context.pool is not None and component == "worker":
        labels[LABEL_POOL] = context.pool.metadata.name
    if context.service_account and context.storage.run_uri.startswith("az://"):
        # Azure gives the account's identity only to pods that ask.
        labels["azure.workload.identity/use"] = "true"
    return {"labels": labels, "annotations": {**_KEEP, **asked.pod_annotations}}


def _container(
    context: PodContext,
    env: environment.Env,
    resources: dict[str, Any],
    capabilities: list[str] | None = None,
) -> dict[str, Any]:
    asked = context.cluster.kubernetes
    container: dict[str, Any] = {
        "name": RAY_CONTAINER,
        "image": context.image,
        "env": env,
        "resources": resources,
        "securityContext": container_security(capabilities or ()),
        "volumeMounts": [
            {"name": "shared-memory", "mountPath": "/dev/shm"},
            {"name": "ray-logs", "mountPath": "/tmp/ray"},
            *copy.deepcopy(context.storage.mounts),
        ],
    }
    policy = asked.image_pull_policy or context.settings.image_pull_policy
    if policy:
        container["imagePullPolicy"] = policy
    secrets = environment.env_from(context.cluster, context.settings)
    if secrets:
        container["envFrom"] = secrets
    return container


def _pod(
    context: PodContext, container: dict[str, Any], shared_memory: int | None
) -> dict[str, Any]:
    asked, settings = context.cluster.kubernetes, context.settings
    limit = {"sizeLimit": quantity.memory(shared_memory)} if shared_memory else {}
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(settings),
        "containers": [container],
        "volumes": [
            {"name": "shared-memory", "emptyDir": {"medium": "Memory", **limit}},
            # KubeRay shares a volume of this name with the autoscaler, whose log Ray reads.
            {"name": "ray-logs", "emptyDir": {}},
            *copy.deepcopy(context.storage.volumes),
        ],
    }
    if context.service_account:
        spec["serviceAccountName"] = context.service_account
    pull = asked.image_pull_secrets
    secrets = settings.image_pull_secrets if pull is None else pull
    if secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in secrets]
    priority = asked.priority_class or settings.priority_class
    if priority:
        spec["priorityClassName"] = priority
    return spec


def _resources(
    settings: Settings, cpu: float, memory: int | None, devices: dict[str, str] | None = None
) -> dict[str, Any]:
    """Memory is never promised twice: what is asked for is also the limit."""
    limits = dict(devices or {})
    if memory is not None:
        limits["memory"] = quantity.memory(memory)
    requests = {"cpu": quantity.cores(cpu), **limits}
    if settings.cpu_limits:
        limits = {"cpu": requests["cpu"], **limits}
    return {"requests": requests, **({"limits": limits} if limits else {})}


def _devices(form: Shape, network: dict[str, int]) -> dict[str, str]:
    gpus = {form.gpu_resource: str(form.gpus)} if form.gpus else {}
    return {**gpus, **{name: str(count) for name, count in network.items()}}


def _token_volume() -> dict[str, Any]:
    sources: list[dict[str, Any]] = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": _TOKEN_SECONDS}},
        {
            "configMap": {
                "name": "kube-root-ca.crt",
                "items": [{"key": "ca.crt", "path": "ca.crt"}],
            }
        },
        {
            "downwardAPI": {
                "items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]
            }
        },
    ]
    return {"name": TOKEN_VOLUME, "projected": {"sources": sources}}
