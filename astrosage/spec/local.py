"""The fields of a job that name files or models, and which of them lie on somebody's own disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic.alias_generators import to_camel

from astrosage.errors import SpecError
from astrosage.spec.job import AstroJob

POD_FOLDER = "/astrosage/"
"""What lies below is a pod's own: mounted storage, caches."""
POD_STORAGE = "/astrosage/storage"
"""Where a claim is mounted in every pod of a job."""

Kind = Literal["source", "questions", "model"]
# Of each kind of stage: where it names files and models; `*` stands for every item of a list.
_SOURCE = (
    "path",
    "arxiv.metadata",
    "arxiv.exclude.doi",
    "arxiv.exclude.ids",
    "wikipedia.titles",
    "wikipedia.tree",
)
_FIELDS: dict[str, tuple[tuple[str, Kind], ...]] = {
    "prepare": (
        ("model", "model"),
        *((f"sources.*.{name}", "source") for name in _SOURCE),
        *((f"validation.sources.*.{name}", "source") for name in _SOURCE),
        ("deduplicate.against.*", "source"),
        ("decontaminate.against.*", "questions"),
    ),
    "generate": tuple((f"sources.*.{name}", "source") for name in _SOURCE),
    "train": (("model", "model"),),
    "merge": (("base", "model"), ("models.*.model", "model")),
    "bench": (
        ("model", "model"),
        ("baseline", "model"),
        ("questions.*.path", "questions"),
        ("shots_from", "questions"),
        *((f"heldout.*.{name}", "source") for name in _SOURCE),
    ),
}

# Beside models: the fields that a stage of the run may stand in.
_MAY_BE_STAGE = (".path", ".against.*", "shots_from")


@dataclass(frozen=True)
class Named:
    """A file, pattern or model that a job names.

    Attributes:
        field: Where, such as ``spec.stages[0].prepare.sources[1].path``.
        kind: ``source`` and ``questions`` are files or patterns, ``model`` is a folder.
        value: What is written there.
    """

    field: str
    kind: Kind
    value: str


def rewritten(job: AstroJob, change: Callable[[Named], str]) -> AstroJob:
    """A copy of the job in which every such field has become what ``change`` says.

    References to stages of the job are not asked about; ``spec.storage`` is none of these fields.
    """
    job = job.model_copy(deep=True)
    for holder, key, named in _places(job):
        value = change(named)
        if isinstance(holder, list):
            holder[int(key)] = value
        else:
            setattr(holder, str(key), value)
    return job


def named(job: AstroJob) -> list[Named]:
    """All of them, in the order of the file."""
    return [found for _, _, found in _places(job)]


def local_paths(job: AstroJob) -> list[tuple[str, str]]:
    """``(field, path)`` of all that lies on the disk of whoever wrote the job.

    No disk is looked at, so a model's folder counts if it starts with ``/``, ``.`` or ``~``.
    """
    return [(n.field, n.value) for n in named(job) if is_local(n)]


def is_local(found: Named) -> bool:
    """Whether a field names something on the disk of whoever wrote the job."""
    if found.value.startswith("file://"):
        return True
    if in_pods(found.value) or "://" in found.value:
        return False
    return found.kind != "model" or is_local_model(found.value)


def is_local_model(value: str) -> bool:
    """Whether a model that is no stage is named by a folder of this machine."""
    return value.startswith(("/", ".", "~", "file://")) and not in_pods(value)


def in_pods(value: str) -> bool:
    """Whether something can be seen by a job's pods alone: on a claim, or below /astrosage."""
    return value.startswith((POD_FOLDER, "pvc://"))


def inside_pods(job: AstroJob, storage: str | None = None) -> AstroJob:
    """The job as its pods see it: what it names on its claim becomes a path there.

    Args:
        job: Whose fields may hold ``pvc://claim/path``.
        storage: The job's storage, if not ``spec.storage``.

    Raises:
        SpecError: If a field names another claim than the storage's, which is not mounted.
    """
    place = storage or job.spec.storage
    return rewritten(job, lambda found: pod_path(found.value, place, found.field))


def pod_path(value: str, storage: str, field: str) -> str:
    """``pvc://claim/path`` as a path in pods that have ``storage``'s claim; others unchanged.

    Raises:
        SpecError: If ``storage`` is not on that claim.
    """
    if not value.startswith("pvc://"):
        return value
    claim, path = split_claim(value)
    if not storage.startswith("pvc://") or split_claim(storage)[0] != claim:
        raise SpecError(
            f"{field}: {value}: pods mount the claim of spec.storage ({storage}) only",
            f"copy it there, or use `spec.storage: pvc://{claim}/…`",
        )
    return f"{POD_STORAGE}/{path}" if path else POD_STORAGE


def split_claim(uri: str) -> tuple[str, str]:
    """The claim and the path on it, without slashes at its ends, of ``pvc://claim/path``.

    Raises:
        SpecError: If the claim is missing, or the path leads out of it.
    """
    claim, _, path = uri.removeprefix("pvc://").partition("/")
    parts = [p for p in path.split("/") if p not in ("", ".")]
    if not claim or ".." in parts:
        raise SpecError(f"{uri}: expected pvc://claim/path", "name the claim; `..` is not allowed")
    return claim, "/".join(parts)


def _places(job: AstroJob) -> Iterator[tuple[Any, str | int, Named]]:
    """``(object or list, attribute or index, what is there)`` of every field that is filled."""
    stages = {s.name for s in job.spec.stages}
    yield job.spec, "model", Named("spec.model", "model", job.spec.model)
    for i, stage in enumerate(job.spec.stages):
        for path, kind in _FIELDS[stage.kind]:
            where = f"spec.stages[{i}].{stage.kind}"
            for holder, key, field in _walk(stage.body, path.split("."), where):
                value = holder[key] if isinstance(holder, list) else getattr(holder, str(key))
                may_be_stage = kind == "model" or path.endswith(_MAY_BE_STAGE)
                if value is not None and not (may_be_stage and value in stages):
                    yield holder, key, Named(field, kind, value)


def _walk(node: Any, path: list[str], where: str) -> Iterator[tuple[Any, Any, str]]:
    head, *rest = path
    if node is None or isinstance(node, bool):  # a group of options that is not given
        return
    if isinstance(node, list):
        steps = [(i, f"{where}[{i}]") for i in range(len(node))]
    else:
        steps = [(head, f"{where}.{to_camel(head)}")]  # type: ignore[list-item]
    for key, field in steps:
        if not rest:
            yield node, key, field
        else:
            yield from _walk(
                node[key] if isinstance(node, list) else getattr(node, head), rest, field
            )
