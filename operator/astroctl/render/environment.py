"""Environment variables: of pods, and of the job that runs in them.

A container's variables hold what Ray itself, the libraries under it and every process need: where
models are cached, how the network is used, credentials. The runtime environment of the Ray job
holds what belongs to this one submission: the job, and how its training waits.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from astroctl.render.groups import Group
from astroctl.render.settings import Settings
from astroctl.render.shape import Shape
from astroctl.render.storage import storage_of
from astrosage.errors import SpecError
from astrosage.spec.cluster import Cluster
from astrosage.spec.job import AstroJob
from astrosage.spec.kubernetes import Variable
from astrosage.spec.local import inside_pods
from astrosage.spec.pool import GPUNodePool

Env = list[dict[str, Any]]
JOB = "ASTROSAGE_JOB"
JOB_UID = "ASTROSAGE_JOB_UID"
STOP_GRACE = "ASTROSAGE_STOP_GRACE_SECONDS"
# The kernel takes 128 KiB for one word of a command line, and Ray puts the runtime environment into
# one, as JSON in JSON.
_LONGEST = 120 * 1024
_STOP_MARGIN_SECONDS = 15
_BOOT_MARGIN = 2
_COMMON = {
    "PYTHONUNBUFFERED": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Libraries ask who they run as, and not every image knows a name for the user's number.
    "USER": "ray",
    # Tokenizers that were used before a fork would warn, or hang.
    "TOKENIZERS_PARALLELISM": "false",
}


# By itself, Ray drains a node that is told to end, and waits half a minute for a head that may be
# gone already. The hook of a job's workers does better, and a head has nobody to go to.
NO_DRAIN = {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}


def head_env(
    cluster: Cluster, settings: Settings, storage: Env, more: dict[str, str] | None = None
) -> Env:
    """Variables of a head pod.

    Args:
        cluster: What is asked for.
        settings: The installation's.
        storage: Those that say where things are kept.
        more: Others.
    """
    grace = cluster.kubernetes.termination_grace_seconds
    mine = {
        **_COMMON,
        **(more or {}),
        **_NO_GPU,
        # Ray kills a job that was asked to stop after three seconds otherwise, in the middle of a
        # checkpoint.
        "RAY_JOB_STOP_WAIT_TIME_S": str(grace + _STOP_MARGIN_SECONDS),
    }
    return merged(plain(mine), storage, variables(settings.env), variables(cluster.kubernetes.env))


def worker_env(
    cluster: Cluster,
    form: Shape,
    settings: Settings,
    storage: Env,
    pool: GPUNodePool | None,
    more: dict[str, str] | None = None,
) -> Env:
    """Variables of a worker pod.

    Args:
        cluster: What is asked for.
        form: Its pods.
        settings: The installation's.
        storage: Those that say where things are kept.
        pool: The pool it names.
        more: Others.
    """
    mine = {**_COMMON, **(more or {}), **({"NCCL_DEBUG": "WARN"} if form.gpus else _NO_GPU)}
    return merged(
        plain(mine),
        storage,
        variables(settings.env),
        variables(pool.spec.network.env if pool else ()),
        variables(cluster.kubernetes.env),
    )


# Images made for CUDA show all of a node's GPUs to pods that asked for none.
_NO_GPU = {"NVIDIA_VISIBLE_DEVICES": "void"}


def env_from(cluster: Cluster, settings: Settings) -> list[dict[str, Any]]:
    """Secrets whose keys become variables, the installation's first: later ones win."""
    names = dict.fromkeys([*settings.env_from_secrets, *cluster.kubernetes.env_from_secrets])
    return [{"secretRef": {"name": name}} for name in names]


def job_env(
    job: AstroJob,
    group: Group,
    form: Shape,
    settings: Settings,
    pool: GPUNodePool | None,
    job_uid: str,
) -> dict[str, str]:
    """Variables of the Ray job.

    Raises:
        SpecError: If the job is too large to be handed over.
    """
    env = {
        JOB: _job_text(job, storage_of(job, settings)),
        JOB_UID: job_uid,
        STOP_GRACE: str(group.cluster.kubernetes.termination_grace_seconds),
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(start_timeout(settings, pool)),
    }
    if form.gpus * form.max_pods > 1:
        env["RAY_TRAIN_ENABLE_NCCL_HANG_DETECTOR"] = "1"
    return env


def start_timeout(settings: Settings, pool: GPUNodePool | None) -> int:
    """Seconds that a training waits for its workers: a node may fail to boot once."""
    boot = _BOOT_MARGIN * pool.spec.boot_seconds if pool else 0
    return max(settings.ray_start_timeout, boot)


def _job_text(job: AstroJob, storage: str) -> str:
    whole = {
        "apiVersion": job.api_version,
        "kind": job.kind,
        "metadata": {"name": job.metadata.name, "namespace": job.metadata.namespace},
        "spec": {**inside_pods(job, storage).spec.to_yaml_dict(), "storage": storage},
    }
    text = json.dumps(whole, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    # Ray fills in what looks like a variable.
    text = text.replace("$", "\\u0024")
    length = len(json.dumps(json.dumps(text)))
    if length > _LONGEST:
        raise SpecError(
            f"spec: {length // 1024} KiB as Ray writes it, at most {_LONGEST // 1024} KiB can be "
            "handed to the driver",
            "name sources by globs instead of one by one",
        )
    return text


def plain(values: dict[str, str]) -> Env:
    """Variables with plain values."""
    return [{"name": name, "value": value} for name, value in values.items()]


def variables(given: Sequence[Variable]) -> Env:
    """Variables as a container has them."""
    return [_variable(v) for v in given]


def _variable(given: Variable) -> dict[str, Any]:
    if given.secret is None:
        return {"name": given.name, "value": given.value or ""}
    key = {"name": given.secret.name, "key": given.secret.key}
    return {"name": given.name, "valueFrom": {"secretKeyRef": key}}


def merged(*parts: Iterable[dict[str, Any]]) -> Env:
    """One list with each name once: later parts win, since server-side apply refuses two."""
    found: dict[str, dict[str, Any]] = {}
    for part in parts:
        for entry in part:
            found[entry["name"]] = dict(entry)
    return list(found.values())
