"""What goes with a job's RayJobs: Ray's token, and limits on evictions."""

from __future__ import annotations

import base64
from typing import Any

from astroctl.render import names
from astroctl.render.groups import Group
from astroctl.render.shape import shape
from astrosage.spec.job import AstroJob
from astrosage.spec.pool import GPUNodePool

TOKEN_KEY = "auth_token"


def token_secret(job: AstroJob, token: str, owner: dict[str, Any] | None = None) -> dict[str, Any]:
    """The Secret with the token that all who talk to the job's Ray clusters must have.

    Args:
        job: The AstroJob.
        token: A new random text.
        owner: Owner reference to the AstroJob.
    """
    labels = {**names.recommended_labels(job.metadata.name, "token")}
    labels[names.LABEL_JOB] = job.metadata.name
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(job, names.token_secret_name(job), labels, owner),
        "type": "Opaque",
        "immutable": True,
        "data": {TOKEN_KEY: base64.b64encode(token.encode()).decode()},
    }


def disruption_budgets(
    job: AstroJob,
    group: Group,
    owner: dict[str, Any] | None = None,
    pool: GPUNodePool | None = None,
) -> list[dict[str, Any]]:
    """Who may be evicted: never the head, and one worker pod while all others are well.

    Losing the head ends the attempt. Losing a worker costs the steps since the last checkpoint,
    which is taken on the way out; the next may go when its replacement runs, so that draining many
    nodes does not stop a training many times at once. A group with a single worker pod has no
    budget for it. Budgets count pods: percentages need a controller with a scale subresource.

    Args:
        job: The AstroJob.
        group: Its stages, and what they run on.
        owner: Owner reference to the AstroJob.
        pool: The GPUNodePool that the group's cluster names.
    """
    pods = shape(group.cluster, pool).min_pods
    budgets = [_budget(job, group, "head", 1, owner)]
    if pods > 1:
        budgets.append(_budget(job, group, "worker", pods - 1, owner))
    return budgets


def _budget(
    job: AstroJob, group: Group, node_type: str, available: int, owner: dict[str, Any] | None
) -> dict[str, Any]:
    mine = names.job_labels(job, group)
    labels = {**names.recommended_labels(job.metadata.name, "disruption-budget"), **mine}
    name = f"{job.metadata.name}-{group.index}-{node_type}"
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(job, name, labels, owner),
        "spec": {
            "minAvailable": available,
            # Pods that never got ready hold no node back.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": {**mine, names.RAY_NODE_TYPE: node_type}},
        },
    }


def _metadata(
    job: AstroJob, name: str, labels: dict[str, str], owner: dict[str, Any] | None
) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": job.metadata.namespace,
        "labels": labels,
    }
    if owner is not None:
        metadata["ownerReferences"] = [dict(owner)]
    return metadata
