"""From a job that names files of this machine to one that the cluster can run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from astroctl.upload.hashes import Hashes
from astroctl.upload.plan import FOLDER, UploadPlan, plan, rewrite, with_present
from astroctl.upload.progress import Progress, Quiet
from astroctl.upload.stores import ObjectStore, Store
from astroctl.upload.transfer import send
from astrosage.errors import SpecError
from astrosage.runs.storage import Storage
from astrosage.spec import local
from astrosage.spec.job import AstroJob

if TYPE_CHECKING:
    from astroctl.kube.client import Kube
    from astroctl.render.settings import Settings


def bring_along(
    job: AstroJob,
    kube: Kube | None = None,
    *,
    storage: str | None = None,
    settings: Settings | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> tuple[AstroJob, UploadPlan]:
    """Bring all that the job names on this machine to its storage, and name it there.

    What is there already is not sent again. What the job names on its claim (``pvc://…``) becomes
    the path that its pods have for it.

    Args:
        job: With absolute paths, checked.
        kube: The cluster, for storage on a claim.
        storage: Where to, if the installation decides otherwise than ``spec.storage``.
        settings: The installation's, for the pod that reaches a claim.
        dry_run: Only find out what would be sent. A claim is not looked into then, since that
            takes a pod.
        progress: Told how far it is.

    Raises:
        NotFoundError, DataError: Naming the field behind which there is nothing, or what is wrong.
        SpecError: If the storage is this machine's disk as well.
        StorageError, ClusterError: If it cannot be written.
    """
    progress = progress or Quiet()
    target = storage or job.spec.storage
    job = local.inside_pods(job, target)
    if not local.local_paths(job):
        return job, UploadPlan(target, (), frozenset())
    if "://" not in target or target.startswith("file://"):
        raise SpecError(
            f"spec.storage: {target} is a folder of this machine, to which nothing can be brought "
            "that a cluster sees",
            "use s3://, gs://, az://, or on Kubernetes pvc://claim/path",
        )
    found = _plan(job, target, progress)
    if dry_run and target.startswith("pvc://"):
        return rewrite(job, found), found
    with _store(target, kube, job.metadata.namespace, settings) as store:
        found = with_present(found, {item.folder: store.sizes(item.folder) for item in found.items})
        if found.missing and not dry_run:
            send(found.missing, store, progress)
    return rewrite(job, found), found


def _plan(job: AstroJob, target: str, progress: Progress) -> UploadPlan:
    progress.begin("reading local files", 0)
    try:
        return plan(job, target, hashes=Hashes(), hashed=progress.add)
    finally:
        progress.end()


@contextmanager
def _store(
    target: str, kube: Kube | None, namespace: str, settings: Settings | None
) -> Iterator[Store]:
    if not target.startswith("pvc://"):
        yield ObjectStore(Storage(target))
        return
    from astroctl.kube.files import ClaimFiles

    if kube is None:
        raise SpecError(
            f"spec.storage: {target} can be reached through its cluster only",
            "submit with --target kubernetes",
        )
    claim, path = local.split_claim(target)
    with ClaimFiles(kube, namespace, claim, settings, reuse=False) as files:
        yield files.below(path)


__all__ = ["FOLDER", "bring_along"]
