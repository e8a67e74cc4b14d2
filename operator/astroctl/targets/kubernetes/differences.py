"""How a run file differs from the AstroJob that a cluster has, field by field."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import Any

from astroctl.kube.client import Object
from astroctl.targets.kubernetes.runs import job_of
from astrosage.spec.job import AstroJob

# What one person sets by command and another does not write into a file.
_LEFT_OUT = ("spec.suspend",)


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """``(field, value)`` of all that is not a group; items of lists by name, else by number."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from flat(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            name = item.get("name") if isinstance(item, dict) else None
            yield from flat(item, f"{path}[{name or index}]")
    elif path not in _LEFT_OUT:
        yield path, value


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
    had, has = dict(_fields(old)), dict(_fields(job))
    changed = [
        {"field": field, "cluster": had.get(field), "file": has.get(field)}
        for field in [*had, *(f for f in has if f not in had)]
        if had.get(field) != has.get(field)
    ]
    return text, changed


def _fields(job: AstroJob) -> Iterator[tuple[str, Any]]:
    return flat(job.to_yaml_dict()["spec"], "spec")
