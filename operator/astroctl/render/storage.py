"""How pods reach the run's storage."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from astroctl.render.settings import Settings
from astrosage.errors import SpecError
from astrosage.spec.job import AstroJob, JobSpec

STORAGE_MOUNT = "/astrosage/storage"
CACHE_MOUNT = "/astrosage/cache"
DEFAULT_STORAGE = str(JobSpec.model_fields["storage"].default)
OBJECT_STORES = ("s3", "gs", "az")
_CLAIM = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


@dataclass(frozen=True)
class PodStorage:
    """Storage as the pods of a job see it.

    Attributes:
        run_uri: The run directory, inside pods.
        volumes: For the pods.
        mounts: For their containers.
        env: Environment variables: where base models are kept.
        claim: The PersistentVolumeClaim, if it is one.
    """

    run_uri: str
    volumes: list[dict[str, Any]] = field(default_factory=list)
    mounts: list[dict[str, Any]] = field(default_factory=list)
    env: list[dict[str, Any]] = field(default_factory=list)
    claim: str | None = None


def storage_of(job: AstroJob, settings: Settings) -> str:
    """The job's storage; the installation's where the job leaves it at the built-in one.

    Raises:
        SpecError: If pods cannot use it.
    """
    local = job.spec.storage == DEFAULT_STORAGE
    storage = settings.storage if local and settings.storage else job.spec.storage
    check_storage(storage)
    return storage


def check_storage(storage: str) -> None:
    """Refuse storage that pods cannot share.

    Raises:
        SpecError: Naming the field, and what is possible.
    """
    scheme, separator, rest = storage.partition("://")
    if not separator or scheme == "file":
        raise SpecError(
            f"spec.storage: `{storage}` is a local path, which the pods of a cluster do not share",
            "use an object store (s3://bucket/prefix, gs://, az://) or a PersistentVolumeClaim "
            "(pvc://claim/path), or let the administrator set `settings.storage` in the chart",
        )
    if scheme == "pvc":
        claim_and_path(storage)
    elif scheme not in OBJECT_STORES:
        raise SpecError(
            f"spec.storage: `{storage}`: scheme `{scheme}` cannot be used on Kubernetes",
            "use s3://, gs://, az:// or pvc://claim/path",
        )
    elif not rest.strip("/"):
        raise SpecError(
            f"spec.storage: `{storage}` names no bucket", f"write {scheme}://bucket/prefix"
        )


def claim_and_path(storage: str) -> tuple[str, str]:
    """The claim and the folder in it of ``pvc://claim/path``.

    Raises:
        SpecError: If the claim is missing or is no object's name, or the folder leads out of it.
    """
    claim, _, path = storage.removeprefix("pvc://").partition("/")
    parts = [p for p in path.split("/") if p and p != "."]
    if not _CLAIM.fullmatch(claim):
        raise SpecError(
            f"spec.storage: `{storage}` names no PersistentVolumeClaim",
            "write pvc://claim/path with the name of a claim in the job's namespace",
        )
    if ".." in parts:
        raise SpecError(f"spec.storage: `{storage}` leads out of its claim", "leave out `..`")
    return claim, "/".join(parts)


def pod_storage(job: AstroJob, settings: Settings) -> PodStorage:
    """What the pods of a job need to reach its run directory.

    Raises:
        SpecError: If they cannot.
    """
    storage = storage_of(job, settings)
    run = f"{job.metadata.namespace}/{job.metadata.name}"
    if not storage.startswith("pvc://"):
        return PodStorage(f"{storage.rstrip('/')}/{run}", *_cache_volume())
    claim, path = claim_and_path(storage)
    folder = f"{STORAGE_MOUNT}/{path}".rstrip("/")
    return PodStorage(
        run_uri=f"{folder}/{run}",
        volumes=[{"name": "storage", "persistentVolumeClaim": {"claimName": claim}}],
        mounts=[{"name": "storage", "mountPath": STORAGE_MOUNT}],
        env=_cache_env(f"{STORAGE_MOUNT}/.cache"),
        claim=claim,
    )


def _cache_volume() -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    volumes = [{"name": "cache", "emptyDir": {}}]
    return volumes, [{"name": "cache", "mountPath": CACHE_MOUNT}], _cache_env(CACHE_MOUNT)


def _cache_env(folder: str) -> list[dict[str, Any]]:
    return [
        {"name": "ASTROSAGE_CACHE", "value": folder},
        {"name": "HF_HOME", "value": f"{folder}/huggingface"},
    ]
