"""A run that begins with the finished stages of another one.

The source is named by an annotation of the job, so that a fork is one on every target. Each stage
whose key (hash of its spec and of its inputs' content) the source's artefact has is taken over
when its turn comes: as hard links on a disk, copied inside an object store. Artefacts are never
changed in place, so the two runs stay apart.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from astrosage.errors import NotFoundError, StorageError
from astrosage.runs import manifest
from astrosage.runs.directory import ARTEFACTS, RunDirectory
from astrosage.runs.storage import Storage, explained
from astrosage.spec.job import AstroJob
from astrosage.spec.stages import Stage

ANNOTATION = "astrosage.io/forked-from"
"""On a job: ``namespace/name`` of a run in the same storage."""
_BESIDE = ("metrics.jsonl",)


def source_of(run: RunDirectory, job: AstroJob) -> RunDirectory | None:
    """The run that a job is a fork of; None where it is none, or the source is gone.

    Args:
        run: The job's own directory; the source is found from there, since a pod knows the
            storage by another name than a person.
        job: The job.
    """
    key = job.metadata.annotations.get(ANNOTATION)
    if key is None:
        return None
    root = run.uri.rstrip("/").rsplit("/", 2)[0]
    found = RunDirectory(Storage(root).child(*key.split("/", 1)))
    return found if found.exists() else None


def take_over(
    source: RunDirectory, run: RunDirectory, stage: Stage, key: str
) -> dict[str, Any] | None:
    """Take a finished stage from another run, if it is the same there.

    Args:
        source: The other run.
        run: This run.
        stage: The stage, by its name.
        key: What its artefact must answer to.

    Returns:
        The source's lineage entry, with where it is from; None if nothing was taken.

    Raises:
        StorageError: If the source's artefact is damaged, or cannot be copied.
    """
    artefact = ARTEFACTS[stage.kind]
    there, here = source.stage(stage.name), run.stage(stage.name)
    made = there.manifest(artefact)
    if made is None or made.get("key") != key:
        return None
    entry = next((a for a in source.lineage()["artefacts"] if a["stage"] == stage.name), None)
    if entry is None or entry.get("key") != key:
        return None
    here.storage.write_json(
        "spec.json", {"key": key, "kind": stage.kind, "spec": stage.body.to_yaml_dict()}
    )
    _copy(there.storage, here.storage, artefact, made)
    for name in _BESIDE:
        try:
            here.storage.write_bytes(name, there.storage.read_bytes(name))
        except NotFoundError:
            continue  # not every stage has it
    origin = entry.get("takenFrom") or {"run": _key_of(source), "uri": source.uri}
    return {**entry, "takenFrom": origin}


def _key_of(run: RunDirectory) -> str:
    return "/".join(run.uri.rstrip("/").rsplit("/", 2)[1:])


def _copy(source: Storage, target: Storage, name: str, made: dict[str, Any]) -> None:
    """An artefact's files, the manifest last."""
    files = [*(f["path"] for f in made["files"]), *_unlisted(source, name, made), manifest.NAME]
    if source.local is None:  # both are in one storage
        _copy_objects(source, target, name, files)
        return
    with target.writing(name) as folder:
        for file in files:
            _link(source.local / name / file, folder / file)
        for entry in made["files"]:
            problem = manifest.problem(folder / entry["path"], entry, full=False)
            if problem:
                raise _damaged(source.path(f"{name}/{entry['path']}"), problem)


def _unlisted(source: Storage, name: str, made: dict[str, Any]) -> list[str]:
    """Files that came after the manifest, such as a report with the stage's own time in it."""
    listed = {f["path"] for f in made["files"]} | {manifest.NAME}
    return sorted(f for f in source.sizes(name) if f not in listed)


def _link(source: Path, target: Path) -> None:
    """A second name for a file; a copy where the disk cannot do that."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source)
    except FileNotFoundError:
        raise _damaged(str(source), "is missing") from None
    except OSError:
        shutil.copyfile(source, target)


def _copy_objects(source: Storage, target: Storage, name: str, files: list[str]) -> None:
    """Inside a store, by the store itself."""
    for file in files:
        with explained(target, "written", f"{name}/{file}"):
            target.fs.cp_file(source.path(f"{name}/{file}"), target.path(f"{name}/{file}"))


def _damaged(path: str, problem: str) -> StorageError:
    return StorageError(
        f"{path} {problem}: the stage cannot be taken over from there",
        "restore the file, or delete that stage's folder in the source run: it is then run again",
    )
