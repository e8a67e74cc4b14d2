"""How a run file differs from the AstroJob that a cluster has, field by field."""

from __future__ import annotations

import difflib
import json
from typing import Any

from astroctl.kube.client import Object
from astroctl.runs.changes import changes
from astroctl.targets.kubernetes.runs import job_of
from astrosage.spec.changes import flat
from astrosage.spec.job import AstroJob


def lines_of(job: AstroJob) -> list[str]:
    """A job's spec with all defaults, a field a line."""
    data = job.to_yaml_dict()["spec"]
    return [f"{p}: {json.dumps(v, ensure_ascii=False)}\n" for p, v in flat(data, "spec")]


def differences(there: Object, job: AstroJob, file: str) -> tuple[str, list[dict[str, Any]]]:
    """A unified diff, and the same as data; both empty where there is no difference.

    Args:
        there: The cluster's object.
        job: The run file's job, with its storage and the places of its uploaded files.
        file: Its name.
    """
    old = job_of(there)
    generation = there["metadata"].get("generation")
    before, after = lines_of(old), lines_of(job)
    text = "".join(
        difflib.unified_diff(
            before, after, f"cluster: AstroJob {old.key}, generation {generation}", file, n=1
        )
    )
    changed = [{"field": c.field, "cluster": c.old, "file": c.new} for c in changes(old, job)]
    return text, changed
