"""A model behind HTTP on Kubernetes: a RayService."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import yaml

from astroctl.render import names
from astroctl.render.extras import TOKEN_KEY
from astroctl.render.pods import PodContext
from astroctl.render.raycluster import ray_cluster_spec
from astroctl.render.settings import Settings
from astroctl.render.storage import CACHE_MOUNT, STORAGE_MOUNT, PodStorage
from astrosage.errors import SpecError
from astrosage.spec.cluster import Cluster, Elastic
from astrosage.spec.local import is_local_model, split_claim
from astrosage.spec.pool import GPUNodePool

IMPORT_PATH = "ray_jobs.serve:app"
PORT = 8000
KEYS_MOUNT = "/astrosage/keys"
LABEL_ENDPOINT = "astrosage.io/endpoint"
ANNOTATION_MODEL = "astrosage.io/model"
ANNOTATION_SERVED_NAME = "astrosage.io/served-name"
ANNOTATION_CLUSTER = "astrosage.io/cluster-hash"
# Old and new run side by side so long after traffic has moved, so that long answers can end.
_DELETION_DELAY_SECONDS = 120
_STEP_PERCENT, _STEP_SECONDS = 25, 30


@dataclass(frozen=True)
class Strategy:
    """How a new version takes the place of the old one.

    Attributes:
        kind: ``NewCluster``: a whole second cluster, then traffic moves at once.
            ``NewClusterWithIncrementalUpgrade``: a second cluster that grows as the first shrinks.
            ``None``: the cluster is not replaced by KubeRay.
        gateway_class: For the incremental one.
    """

    kind: str = "NewCluster"
    gateway_class: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As a RayService has it."""
        if self.kind != "NewClusterWithIncrementalUpgrade":
            return {"type": self.kind}
        options = {
            "gatewayClassName": self.gateway_class,
            "maxSurgePercent": _STEP_PERCENT,
            "stepSizePercent": _STEP_PERCENT,
            "intervalSeconds": _STEP_SECONDS,
        }
        return {"type": self.kind, "clusterUpgradeOptions": options}


def rayservice(
    name: str,
    namespace: str,
    *,
    model_uri: str,
    served_name: str,
    settings: Settings,
    cluster: Cluster,
    keys_secret: str,
    strategy: Strategy = Strategy(),
    limits: dict[str, Any] | None = None,
    pool: GPUNodePool | None = None,
) -> dict[str, Any]:
    """The endpoint of one model.

    Args:
        name: The RayService's.
        namespace: Its namespace.
        model_uri: Alias, hub id, ``s3://…`` (fetched when a replica starts) or
            ``pvc://claim/path`` (mounted read-only).
        served_name: What clients call the model.
        settings: The installation's.
        cluster: A worker is a replica: how many, with which resources, on which pool.
        keys_secret: A Secret of the namespace; each of its values is an API key.
        strategy: How it is replaced.
        limits: ``maxConcurrent``, ``maxQueue``, ``maxTokens``, ``maxBodyBytes``; the server's own
            where left out.
        pool: The GPUNodePool that the cluster names.

    Raises:
        SpecError: If the name is too long or no DNS-1035 label, or the model lies on this machine.
    """
    check_name(name)
    model, storage = _model(model_uri)
    context = PodContext(
        instance=name,
        cluster=cluster,
        settings=settings,
        storage=storage,
        labels={LABEL_ENDPOINT: name},
        pool=pool,
    )
    ray = ray_cluster_spec(context, token_secret_name(name))
    for group in ray["workerGroupSpecs"]:
        _mount_keys(group["template"]["spec"], keys_secret)
    arguments = _arguments(model, served_name, cluster, limits or {})
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {**names.recommended_labels(name, "endpoint"), LABEL_ENDPOINT: name},
            "annotations": {
                ANNOTATION_MODEL: model_uri,
                ANNOTATION_SERVED_NAME: served_name,
                ANNOTATION_CLUSTER: _hash(ray),
            },
        },
        "spec": {
            "serveConfigV2": _serve_config(arguments, cluster),
            "rayClusterConfig": ray,
            "upgradeStrategy": strategy.to_dict(),
            "rayClusterDeletionDelaySeconds": _DELETION_DELAY_SECONDS,
            # The head has no replica, and a crowd of clients must not disturb it.
            "excludeHeadPodFromServeSvc": True,
        },
    }


def check_name(name: str) -> None:
    """Refuse what cannot be a RayService's name.

    Raises:
        SpecError: Saying what is possible.
    """
    if len(name) > names.MAX_RAYSERVICE_NAME or not names.DNS_1035.fullmatch(name):
        raise SpecError(
            f"--name: `{name}` cannot be the name of a RayService",
            f"at most {names.MAX_RAYSERVICE_NAME} lower-case letters, digits and `-`, beginning "
            "with a letter",
        )


def keys_secret_name(name: str) -> str:
    """The Secret with an endpoint's API keys."""
    return f"{name}-api-keys"


def token_secret_name(name: str) -> str:
    """The Secret with the token of an endpoint's Ray clusters."""
    return f"{name}-ray-token"


def secret(name: str, namespace: str, endpoint: str, values: dict[str, str]) -> dict[str, Any]:
    """A Secret of an endpoint."""
    labels = {**names.recommended_labels(endpoint, "endpoint"), LABEL_ENDPOINT: endpoint}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "type": "Opaque",
        "stringData": values,
    }


def token_secret(name: str, namespace: str, token: str) -> dict[str, Any]:
    """The Secret with Ray's token."""
    return secret(token_secret_name(name), namespace, name, {TOKEN_KEY: token})


def service_url(name: str, namespace: str, settings: Settings) -> str:
    """The base URL inside the cluster; KubeRay makes the Service."""
    return f"http://{name}-serve-svc.{namespace}.svc.{settings.cluster_domain}:{PORT}/v1"


def _model(uri: str) -> tuple[str, PodStorage]:
    """The model as pods name it, and how they reach it."""
    env = [
        {"name": "ASTROSAGE_CACHE", "value": CACHE_MOUNT},
        {"name": "HF_HOME", "value": f"{CACHE_MOUNT}/huggingface"},
    ]
    volumes: list[dict[str, Any]] = [{"name": "cache", "emptyDir": {}}]
    mounts: list[dict[str, Any]] = [{"name": "cache", "mountPath": CACHE_MOUNT}]
    if is_local_model(uri):
        raise SpecError(
            f"model: {uri} is a folder of this machine, which pods do not see",
            "serve a run, a hub id, s3://… or pvc://claim/path",
        )
    if not uri.startswith("pvc://"):
        return uri, PodStorage(uri, volumes, mounts, env)
    claim, path = split_claim(uri)
    volumes.append(
        {"name": "storage", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
    )
    mounts.append({"name": "storage", "mountPath": STORAGE_MOUNT, "readOnly": True})
    folder = f"{STORAGE_MOUNT}/{path}".rstrip("/")
    return folder, PodStorage(folder, volumes, mounts, env, claim)


def _mount_keys(pod: dict[str, Any], keys_secret: str) -> None:
    source = {"secretName": keys_secret, "defaultMode": 0o440}
    pod["volumes"].append({"name": "keys", "secret": source})
    mount = {"name": "keys", "mountPath": KEYS_MOUNT, "readOnly": True}
    pod["containers"][0]["volumeMounts"].append(mount)


def _arguments(
    model: str, served_name: str, cluster: Cluster, limits: dict[str, Any]
) -> dict[str, Any]:
    each = cluster.resources_per_worker
    return {
        "model": model,
        "modelId": served_name,
        "keyFolder": KEYS_MOUNT,
        "numCpus": each.cpu,
        "numGpus": each.gpu,
        **limits,
    }


def _serve_config(arguments: dict[str, Any], cluster: Cluster) -> str:
    application = {
        "name": "model",
        "route_prefix": "/",
        "import_path": IMPORT_PATH,
        "args": arguments,
        "deployments": [{"name": "model", **_replicas(cluster, arguments)}],
    }
    config = {
        "proxy_location": "EveryNode",
        "http_options": {"host": "0.0.0.0", "port": PORT},
        "applications": [application],
    }
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True)


def _replicas(cluster: Cluster, arguments: dict[str, Any]) -> dict[str, Any]:
    workers = cluster.workers
    if not isinstance(workers, Elastic):
        return {"num_replicas": workers}
    scaling = {
        "min_replicas": workers.min,
        "max_replicas": workers.max,
        # More replicas when requests would have to wait for their turn.
        "target_ongoing_requests": arguments.get("maxConcurrent", 8),
    }
    return {"num_replicas": "auto", "autoscaling_config": scaling}


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
