"""The run directory of a job that came as a Kubernetes object: made, or gone on in.

On a laptop the command line claims the directory before the driver starts. A Kubernetes object may
come from anywhere, and only its pods are sure to reach the storage; so the driver does it.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from astrosage.errors import ConflictError, NotFoundError
from astrosage.runs.directory import RunDirectory
from astrosage.spec.job import AstroJob
from astrosage.spec.load import parse

JOB = "ASTROSAGE_JOB"
UID = "ASTROSAGE_JOB_UID"
_OWNER = "owner.json"
# A driver that is alive says so every few seconds.
_ALIVE_SECONDS = 60.0


def adopt(run: RunDirectory, environment: dict[str, str] | None = None) -> None:
    """Make or take over the run directory, if the job is in the environment.

    The object's spec is what counts: stages whose spec or inputs changed since they were finished
    run again, the others are kept.

    Args:
        run: The directory.
        environment: Variables; ``ASTROSAGE_JOB`` (the object as JSON) and ``ASTROSAGE_JOB_UID``.

    Raises:
        ConflictError: If the directory belongs to another object whose driver is alive.
        SpecError: If the object is not valid.
    """
    variables = os.environ if environment is None else environment
    text = variables.get(JOB)
    if not text:
        return
    job, uid = parse(json.loads(text), source=JOB), variables.get(UID, "")
    if run.exists():
        _take_over(run, job, uid)
    else:
        run.create(job)
    run.storage.write_json(_OWNER, {"uid": uid, "job": job.key})


def _take_over(run: RunDirectory, job: AstroJob, uid: str) -> None:
    run.check_version()
    owner = _owner(run)
    progress = run.progress()
    age = time.time() - float(progress.get("heartbeat") or 0.0)
    if owner not in (None, uid) and progress.get("phase") == "running" and age < _ALIVE_SECONDS:
        raise ConflictError(
            f"spec.storage: the run directory {run.uri} is in use by another job (uid {owner}), "
            f"which gave a sign of life {age:.0f} s ago",
            "stop that one, or give this job another name, namespace or storage",
        )
    run.write_job(job)


def _owner(run: RunDirectory) -> str | None:
    try:
        found: dict[str, Any] = run.storage.read_json(_OWNER)
    except NotFoundError:
        return None
    return str(found.get("uid"))
