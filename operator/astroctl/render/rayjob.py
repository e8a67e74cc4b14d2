"""AstroJob to RayJob."""

from __future__ import annotations

import shlex
from typing import Any

import yaml

from astroctl.render import environment, names, queues
from astroctl.render.groups import Group
from astroctl.render.pods import PodContext
from astroctl.render.raycluster import ray_cluster_spec
from astroctl.render.settings import Settings
from astroctl.render.storage import pod_storage
from astrosage.spec.job import AstroJob
from astrosage.spec.pool import GPUNodePool


def rayjob(
    job: AstroJob,
    group: Group,
    attempt: int,
    *,
    settings: Settings,
    pool: GPUNodePool | None = None,
    fallback: GPUNodePool | None = None,
    owner: dict[str, Any] | None = None,
    job_uid: str = "",
) -> dict[str, Any]:
    """One try at one group of stages.

    Args:
        job: The AstroJob.
        group: Its stages, and what they run on.
        attempt: From 1; part of the name.
        settings: The installation's.
        pool: The GPUNodePool that the group's cluster names.
        fallback: The pool that this one names as its fallback; pods may then go to either.
        owner: Owner reference to the AstroJob, as :func:`names.owner_reference` makes it.
        job_uid: The AstroJob's uid, by which the driver knows its own run directory again.

    Raises:
        SpecError: If the job cannot run on Kubernetes as it is, naming the field.
    """
    name = names.rayjob_name(job, group, attempt)
    context = pod_context(job, group, settings=settings, pool=pool, fallback=fallback)
    variables = environment.job_env(job, group, context.form, settings, pool, job_uid)
    spec: dict[str, Any] = {
        "submissionMode": "HTTPMode",
        # A submission that KubeRay repeats is the same job to Ray.
        "jobId": name,
        "entrypoint": entrypoint(context.storage.run_uri, group, attempt),
        "runtimeEnvYAML": _runtime_env(variables),
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": settings.job_ttl_seconds,
        # Only the operator knows whether another try can help. A limit on the time before the
        # driver runs is left out as well: to wait for a node or a queue is no failure.
        "backoffLimit": 0,
        "rayClusterSpec": ray_cluster_spec(context, names.token_secret_name(job)),
    }
    if job.spec.active_deadline_seconds is not None:
        spec["activeDeadlineSeconds"] = job.spec.active_deadline_seconds
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": _metadata(job, group, attempt, name, settings, pool, owner),
        "spec": spec,
    }


def pod_context(
    job: AstroJob,
    group: Group,
    *,
    settings: Settings,
    pool: GPUNodePool | None = None,
    fallback: GPUNodePool | None = None,
) -> PodContext:
    """What the pods of a group have in common."""
    return PodContext(
        instance=job.metadata.name,
        cluster=group.cluster,
        settings=settings,
        storage=pod_storage(job, settings),
        labels=names.job_labels(job, group),
        pool=pool,
        fallback=fallback,
    )


def entrypoint(run_uri: str, group: Group, attempt: int) -> str:
    """The driver's command line."""
    words = ["python", "-m", "ray_jobs.pipeline", run_uri]
    words += ["--stages", ",".join(group.stages), "--attempt", str(attempt)]
    return shlex.join(words)


def _runtime_env(variables: dict[str, str]) -> str:
    return yaml.safe_dump({"env_vars": variables}, allow_unicode=True, width=2**31)


def _metadata(
    job: AstroJob,
    group: Group,
    attempt: int,
    name: str,
    settings: Settings,
    pool: GPUNodePool | None,
    owner: dict[str, Any] | None,
) -> dict[str, Any]:
    labels = {
        **names.recommended_labels(job.metadata.name, "run"),
        **names.job_labels(job, group, attempt),
        **queues.scheduling_labels(name, job.metadata.namespace, group.cluster, settings),
    }
    if pool is not None:
        labels[names.LABEL_POOL] = pool.metadata.name
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": job.metadata.namespace,
        "labels": labels,
        "annotations": {
            names.ANNOTATION_STAGES: ",".join(group.stages),
            **queues.scheduling_annotations(group.cluster, settings),
        },
    }
    if owner is not None:
        metadata["ownerReferences"] = [dict(owner)]
    return metadata
