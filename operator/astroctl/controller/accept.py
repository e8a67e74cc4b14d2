"""Whether a job can run at all, told before anything is created."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from astroctl.kube.client import Object
from astroctl.kube.plain import plain
from astroctl.render.groups import Group, groups
from astroctl.render.settings import Settings
from astroctl.render.storage import storage_of
from astrosage.errors import AstroError, SpecError
from astrosage.spec import graph
from astrosage.spec.base import did_you_mean
from astrosage.spec.job import AstroJob
from astrosage.spec.load import parse
from astrosage.spec.local import local_paths
from astrosage.spec.pool import GPUNodePool

STAGES = "astrosage.io/stages"
_SHOWN_PATHS = 5
_PASSING = ("PoolNotFound", "PoolInvalid", "DoesNotFitPool", "KubeRayMissing", "NotAllowed")


class Refusal(AstroError):
    """A job that cannot run as it is.

    Args:
        reason: The condition's reason.
        message: What is wrong.
        hint: What to do.
    """

    exit_code = 2

    def __init__(self, reason: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.reason = reason

    @property
    def passes(self) -> bool:
        """Whether it may become possible without a change of the job."""
        return self.reason in _PASSING

    @property
    def text(self) -> str:
        """Message and hint as one."""
        return f"{self.message}; {self.hint}" if self.hint else self.message


@dataclass(frozen=True)
class Accepted:
    """A job that can run.

    Attributes:
        job: It, checked.
        groups: Its stages by cluster, those that are wanted.
        contents: For each group, a hash of what it and those before it make.
    """

    job: AstroJob
    groups: list[Group]
    contents: list[str]

    @property
    def stages(self) -> list[str]:
        """Names of the stages wanted, in order."""
        return [name for group in self.groups for name in group.stages]

    def spec_hash(self, group: Group) -> str:
        """Of all that a group's RayJob is made from."""
        return _digest([self.contents[group.index], group.cluster.to_yaml_dict()])


def accept(obj: Object, settings: Settings) -> Accepted:
    """Check an AstroJob as the API server has it.

    Raises:
        Refusal: Naming the field and what to do.
    """
    job = _parsed(obj)
    stages = _wanted(obj, job)
    _check_paths(job)
    try:
        storage_of(job, settings)
    except SpecError as error:
        raise Refusal("StorageNotShared", error.message, error.hint) from None
    found = groups(job, [s.name for s in stages])
    contents: list[str] = []
    sofar: list[Any] = [job.spec.model, job.spec.storage]
    for group in found:
        for name in group.stages:
            stage = job.stage(name)
            sofar.append([name, stage.kind, stage.body.to_yaml_dict()])
        contents.append(_digest(sofar))
    return Accepted(job, found, contents)


def pool_of(
    group: Group, find: Callable[[str], Object | None], known: Callable[[], list[str]]
) -> GPUNodePool | None:
    """The pool that a group names.

    Raises:
        Refusal: If there is none of that name, or it is not valid.
    """
    name = group.cluster.pool
    if name is None:
        return None
    obj = find(name)
    if obj is None:
        raise Refusal(
            "PoolNotFound",
            f"cluster.pool: there is no GPUNodePool `{name}`",
            did_you_mean(name, known()),
        )
    return parse_pool(obj)


def parse_pool(obj: Object) -> GPUNodePool:
    """A GPUNodePool as the vocabulary has it.

    Raises:
        Refusal: If it is not valid.
    """
    try:
        return GPUNodePool.model_validate(plain(obj))
    except ValueError as error:
        name = obj["metadata"]["name"]
        raise Refusal(
            "PoolInvalid", f"GPUNodePool {name}: {_first_line(error)}", "mend the pool"
        ) from None


def _parsed(obj: Object) -> AstroJob:
    try:
        return parse(plain(obj), source="AstroJob")
    except SpecError as error:
        text = error.message.removeprefix("AstroJob: ").strip()
        raise Refusal("InvalidSpec", text, error.hint) from None


def _wanted(obj: Object, job: AstroJob) -> list[Any]:
    chosen = (obj["metadata"].get("annotations") or {}).get(STAGES)
    if not chosen:
        return graph.order(job)
    wanted = [n.strip() for n in chosen.split(",") if n.strip()]
    known = [s.name for s in job.spec.stages]
    for name in wanted:
        if name not in known:
            raise Refusal(
                "InvalidSpec",
                f"annotation {STAGES}: there is no stage `{name}`",
                did_you_mean(name, known),
            )
    return [s for s in graph.order(job) if s.name in wanted]


def _check_paths(job: AstroJob) -> None:
    found = local_paths(job)
    if found:
        shown = ", ".join(f"{field} ({path})" for field, path in found[:_SHOWN_PATHS])
        more = f" and {len(found) - _SHOWN_PATHS} more" if len(found) > _SHOWN_PATHS else ""
        raise Refusal(
            "LocalPath",
            f"paths of some machine's disk, which pods do not see: {shown}{more}",
            "submit with `astroctl submit -f job.yaml --target kubernetes`, which brings such "
            "files along, or put them into the storage and name them by URI",
        )


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
