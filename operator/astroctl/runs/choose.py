"""From a target, or from a record, to the runs of that place."""

from __future__ import annotations

from typing import Any

from astroctl.runs.base import Runs
from astroctl.runs.registry import Record
from astroctl.targets.jobs_target import JobsTarget


def runs_on(target: Any) -> Runs:
    """The runs of a target."""
    if isinstance(target, JobsTarget):
        from astroctl.runs.ray_runs import RayRuns

        return RayRuns(target)
    from astroctl.targets.kubernetes.runs import KubernetesRuns

    return KubernetesRuns(target)


def runs_of(record: Record) -> Runs:
    """The runs among which a known one is; those that only storage knows are looked for here."""
    if record.target == "kubernetes":
        from astroctl.targets.kubernetes.target import KubernetesTarget

        return runs_on(KubernetesTarget.of(record))
    from astroctl.runs.find import target_of

    return runs_on(target_of(record))
