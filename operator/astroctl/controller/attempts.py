"""RayJobs as attempts: what KubeRay says of one, in the words that decisions are made in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from astroctl.kube.client import Object

Outcome = Literal["active", "succeeded", "failed", "stopped"]
_TERMINAL = ("Complete", "Failed", "ValidationFailed")
SPEC_HASH = "astrosage.io/spec-hash"
CONTENT = "astrosage.io/content"
_GROUP, _ATTEMPT = "astrosage.io/group", "astrosage.io/attempt"


@dataclass(frozen=True)
class Attempt:
    """One RayJob.

    Attributes:
        name: Its name, which is also Ray's submission id.
        group: Which group of stages it runs.
        number: From 1.
        deployment: KubeRay's jobDeploymentStatus; empty before it has looked.
        job: Ray's job status; empty before there is a job.
        reason: KubeRay's reason for a failure.
        message: What KubeRay or Ray says.
        cluster: Its RayCluster.
        dashboard: Where the head's dashboard answers, without scheme.
        spec_hash: Of the job's spec that it was made from.
        content: Of what its stages and those before them make.
        started: When its driver started (RFC 3339), if it has.
        deleting: Whether it is being removed.
        suspended: Whether its own ``suspend`` is set (by Kueue).
    """

    name: str
    group: int
    number: int
    deployment: str = ""
    job: str = ""
    reason: str = ""
    message: str = ""
    cluster: str = ""
    dashboard: str = ""
    spec_hash: str = ""
    content: str = ""
    started: str = ""
    deleting: bool = False
    suspended: bool = False

    @property
    def outcome(self) -> Outcome:
        """What became of it. KubeRay counts a stopped job as Complete."""
        if self.deployment not in _TERMINAL:
            return "active"
        if self.deployment == "Complete" and self.job == "SUCCEEDED":
            return "succeeded"
        if self.deployment == "Complete" and self.job == "STOPPED":
            return "stopped"
        return "failed"

    @property
    def runs(self) -> bool:
        """Whether its driver runs."""
        return self.outcome == "active" and self.job == "RUNNING"


def attempt(rayjob: Object) -> Attempt | None:
    """The attempt that a RayJob is; None if its labels are not ours."""
    meta, status = rayjob["metadata"], rayjob.get("status") or {}
    labels = meta.get("labels") or {}
    try:
        group, number = int(labels[_GROUP]), int(labels[_ATTEMPT])
    except (KeyError, ValueError):
        return None
    notes: dict[str, str] = meta.get("annotations") or {}
    info: dict[str, Any] = status.get("rayJobInfo") or {}
    return Attempt(
        name=meta["name"],
        group=group,
        number=number,
        deployment=status.get("jobDeploymentStatus") or "",
        job=status.get("jobStatus") or "",
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        cluster=status.get("rayClusterName") or "",
        dashboard=status.get("dashboardURL") or "",
        spec_hash=notes.get(SPEC_HASH, ""),
        content=notes.get(CONTENT, ""),
        started=info.get("startTime") or status.get("startTime") or "",
        deleting="deletionTimestamp" in meta,
        suspended=bool((rayjob.get("spec") or {}).get("suspend")),
    )
