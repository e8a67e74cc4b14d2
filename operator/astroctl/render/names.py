"""Names, labels and annotations that the parts of the system know each other by."""

from __future__ import annotations

import re
from typing import Any

from astroctl.render.groups import Group
from astrosage.errors import SpecError
from astrosage.spec.job import API_VERSION, AstroJob

LABEL_JOB = "astrosage.io/job"
LABEL_GROUP = "astrosage.io/group"
LABEL_ATTEMPT = "astrosage.io/attempt"
LABEL_POOL = "astrosage.io/pool"
ANNOTATION_RETRY = "astrosage.io/retry"
ANNOTATION_STAGES = "astrosage.io/stages"

RAY_CLUSTER = "ray.io/cluster"
RAY_NODE_TYPE = "ray.io/node-type"
RAY_GROUP = "ray.io/group"
WORKER_GROUP = "workers"
RAY_CONTAINER = "ray"

MAX_RAYJOB_NAME = 47
MAX_RAYSERVICE_NAME = 47
# KubeRay adds "-" and five characters to a RayJob's name.
MAX_RAYCLUSTER_NAME = 53
DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def attempt_name(job: str, group: int, number: int) -> str:
    """``<job>-<group>-<attempt>``, the name of an attempt's RayJob."""
    return f"{job}-{group}-{number}"


def rayjob_name(job: AstroJob, group: Group, attempt: int) -> str:
    """:func:`attempt_name` of a group of the job.

    Raises:
        SpecError: If that is no RayJob's name.
    """
    name = attempt_name(job.metadata.name, group.index, attempt)
    if len(name) > MAX_RAYJOB_NAME:
        raise SpecError(
            f"metadata.name: the RayJob's name `{name}` has {len(name)} characters, at most "
            f"{MAX_RAYJOB_NAME} are possible",
            "submit under a shorter name",
        )
    return name


def token_secret_name(job: AstroJob) -> str:
    """The Secret with the token that Ray's head and clients of the job use."""
    return f"{job.metadata.name}-ray-token"


def job_labels(job: AstroJob, group: Group, attempt: int | None = None) -> dict[str, str]:
    """Labels by which all objects of a group are found."""
    labels = {LABEL_JOB: job.metadata.name, LABEL_GROUP: str(group.index)}
    if attempt is not None:
        labels[LABEL_ATTEMPT] = str(attempt)
    return labels


def owner_reference(name: str, uid: str) -> dict[str, Any]:
    """What an object says that belongs to an AstroJob; it is removed with it."""
    return {
        "apiVersion": API_VERSION,
        "kind": "AstroJob",
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def recommended_labels(instance: str, component: str) -> dict[str, str]:
    """Kubernetes' recommended labels, for pods.

    Without ``app.kubernetes.io/name``: KubeRay sets it, and its services select pods by it.
    """
    return {
        "app.kubernetes.io/instance": instance,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": "astrosage",
        "app.kubernetes.io/managed-by": "astrosage-operator",
    }
