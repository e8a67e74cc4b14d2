"""From a checked job to an AstroJob that the operator has taken."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from astroctl.kube.client import Object
from astroctl.kube.errors import AlreadyExists, Invalid
from astroctl.kube.resources import ASTROJOB
from astroctl.targets.kubernetes import precheck
from astroctl.targets.kubernetes.account import condition
from astroctl.targets.kubernetes.manifests import Manifests, astrojob, manifests, with_storage
from astroctl.targets.kubernetes.references import References
from astroctl.targets.kubernetes.target import KubernetesTarget
from astroctl.upload.bring import bring_along
from astroctl.upload.notes import left_out, notes
from astroctl.upload.plan import UploadPlan
from astroctl.upload.progress import Shown
from astrosage.errors import SpecError
from astrosage.plan import preflight
from astrosage.spec import graph
from astrosage.spec.job import AstroJob
from astrosage.spec.stages import Stage

# An operator that runs looks within a second.
_ACCEPTED_SECONDS = 10.0


def checked(
    target: KubernetesTarget, job: AstroJob, stages: Sequence[Stage]
) -> tuple[AstroJob, Manifests, list[str]]:
    """Everything that can be found wrong with a job before it is tried on the API server.

    Returns:
        The job with its storage, what it becomes, and warnings.

    Raises:
        AstroError: The first thing that is wrong.
    """
    job = with_storage(job, target.settings)
    warnings = preflight.check(job, stages, storage=False, remote=False)
    precheck.check_namespace(job.metadata.namespace, target.settings)
    pools = precheck.pools(target.kube, job, stages)
    made = manifests(job, stages, target.settings, pools)
    warnings += References(target.kube, job, stages, target.settings).check()
    return job, made, warnings


def brought(
    target: KubernetesTarget, job: AstroJob, *, dry_run: bool
) -> tuple[AstroJob, UploadPlan]:
    """The job with its local files in its storage."""
    return bring_along(
        job, target.kube, settings=target.settings, dry_run=dry_run, progress=Shown()
    )


def create(
    target: KubernetesTarget, job: AstroJob, stages: Sequence[Stage]
) -> tuple[Object, list[str]]:
    """Check, upload, create, and wait until the operator has said whether it takes the job.

    Returns:
        The AstroJob, and warnings.

    Raises:
        AstroError: If it cannot run. Nothing is left of it then but uploaded files.
    """
    job, made, warnings = checked(target, job, stages)
    warnings += precheck.try_out(target.kube, job, made)
    silent = list(precheck.operator_warnings(target.kube))
    job, uploads = brought(target, job, dry_run=False)
    warnings += left_out(uploads)
    chosen = [job.stage(s.name) for s in stages]
    try:
        obj = target.kube.create(astrojob(job, chosen))
    except AlreadyExists:
        raise precheck.exists(target.kube, job) from None
    except Invalid as error:
        raise precheck.refused(error) from None
    if silent:
        return obj, [*warnings, *silent]
    obj, unheard = accepted(target, obj)
    return obj, [*warnings, *unheard]


def accepted(target: KubernetesTarget, obj: Object) -> tuple[Object, list[str]]:
    """Wait a moment for the operator's word on a new job; a refused one is removed again.

    Raises:
        SpecError: If it was refused.
    """
    meta = obj["metadata"]
    deadline = time.monotonic() + _ACCEPTED_SECONDS
    pause = 0.1
    while time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(2 * pause, 1.0)
        obj = target.kube.get(ASTROJOB, meta["name"], meta["namespace"])
        said = condition(obj, "Accepted")
        if said.get("status") == "False":
            target.kube.delete(ASTROJOB, meta["name"], meta["namespace"])
            raise SpecError(
                f"the operator refuses the job ({said.get('reason')}): {said.get('message')}",
                "mend it and submit again; nothing was left in the cluster",
            )
        if said:
            return obj, []
    return obj, [
        f"no operator has looked at the job in {_ACCEPTED_SECONDS:.0f} s: does one run, and does "
        "it watch this namespace? `astroctl doctor --target kubernetes`"
    ]


def replaced(target: KubernetesTarget, obj: Object, job: AstroJob) -> AstroJob:
    """Give an existing AstroJob another spec; its stages and suspension are set by the caller.

    Raises:
        SpecError: If a field changed that cannot be changed, or the new spec cannot run.
    """
    job = with_storage(job, target.settings)
    for field in ("storage", "model"):
        new, old = getattr(job.spec, field), (obj.get("spec") or {}).get(field)
        local = field == "model" and str(new).startswith(("/", ".", "~"))
        if new != old and not local:
            raise SpecError(
                f"spec.{field}: a run's {field} cannot be changed: it is `{old}`, the file has "
                f"`{new}`",
                "submit under a new name: `--set metadata.name=…`",
            )
    job, _, _ = checked(target, job, graph.order(job))
    job, _ = brought(target, job, dry_run=False)
    return job


def upload_notes(plan: UploadPlan) -> tuple[list[str], dict[str, Any]]:
    """What an upload plan means, for people and as data."""
    return notes(plan), {"upload": plan.to_dict()} if plan.items else {}
