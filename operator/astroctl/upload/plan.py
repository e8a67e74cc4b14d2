"""What a job names on this machine's disk, and where it will lie in the job's storage.

Everything goes below ``.uploads`` of the storage, under a hash of its content, so that the same
content is brought once, whoever submits what job:

* a file: ``<first 2>/<SHA-256>/<name>``;
* what a pattern matches: ``<first 2>/<hash of all>/<path from where the pattern begins>``, and the
  pattern goes on meaning the same below there;
* a model's folder: ``<first 2>/<hash of all>/<folder's name>/<file>``.
"""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astroctl.upload.hashes import Hashes
from astrosage.data.sources import expand
from astrosage.models.resolve import WANTED, check_directory
from astrosage.runs.manifest import digest
from astrosage.spec import local
from astrosage.spec.job import AstroJob

FOLDER = ".uploads"
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".msgpack")


@dataclass(frozen=True)
class LocalFile:
    """A file to bring.

    Attributes:
        path: Where it is here.
        name: Its path in its item's folder.
        size: Bytes.
        modified: Nanoseconds, as the disk tells.
        sha256: Of its content, in hex.
    """

    path: Path
    name: str
    size: int
    modified: int
    sha256: str


@dataclass(frozen=True)
class Item:
    """One path of the job.

    Attributes:
        path: As the job names it.
        fields: All the fields that do.
        files: What is behind it.
        folder: Where its files go, below the storage.
        target: What takes the path's place, below the storage.
        left_out: What lies there too and is not brought, with the reason.
        notes: What else should be known.
    """

    path: str
    fields: tuple[str, ...]
    files: tuple[LocalFile, ...]
    folder: str
    target: str
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(f.size for f in self.files)


@dataclass(frozen=True)
class UploadPlan:
    """Everything that a job needs from this machine.

    Attributes:
        storage: Where it goes, as the run file says.
        items: One for each path.
        present: Names below the storage that are there already, whole; None where nobody looked.
    """

    storage: str
    items: tuple[Item, ...]
    present: frozenset[str] | None = None

    @property
    def files(self) -> dict[str, LocalFile]:
        """Each file once, by its name below the storage."""
        return {f"{item.folder}/{f.name}": f for item in self.items for f in item.files}

    @property
    def missing(self) -> dict[str, LocalFile]:
        """The files that are to be brought."""
        there = self.present or frozenset()
        return {name: file for name, file in self.files.items() if name not in there}

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(f.size for f in self.files.values())

    @property
    def missing_size(self) -> int:
        """Bytes that are to be brought."""
        return sum(f.size for f in self.missing.values())

    def reference(self, item: Item) -> str:
        """What the job says instead of an item's path."""
        if self.storage.startswith("pvc://"):
            return local.pod_path(f"{self.storage.rstrip('/')}/{item.target}", self.storage, "")
        return f"{self.storage.rstrip('/')}/{item.target}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``--dry-run``."""
        missing = self.missing
        return {
            "storage": self.storage,
            "files": len(self.files),
            "bytes": self.size,
            "missingFiles": len(missing),
            "missingBytes": sum(f.size for f in missing.values()),
            "checked": self.present is not None,
            "items": [
                {
                    "fields": list(item.fields),
                    "path": item.path,
                    "becomes": self.reference(item),
                    "files": len(item.files),
                    "bytes": item.size,
                    "leftOut": [{"path": path, "reason": why} for path, why in item.left_out],
                }
                for item in self.items
            ],
        }


def plan(
    job: AstroJob,
    storage: str | None = None,
    *,
    hashes: Hashes | None = None,
    hashed: Callable[[int], None] = lambda size: None,
) -> UploadPlan:
    """Find and hash all that the job names on this machine.

    Args:
        job: With absolute paths.
        storage: Where it will go, if not to ``spec.storage``.
        hashes: Hashes known from before.
        hashed: Told of the bytes of each file that is read.

    Raises:
        NotFoundError: Naming the field behind which there is nothing, or no model.
        DataError: If a file cannot be read.
    """
    hashes = hashes or Hashes()
    by_path: dict[tuple[str, bool], list[str]] = {}
    for found in local.named(job):
        if local.is_local(found):
            path = found.value.removeprefix("file://")
            by_path.setdefault((path, found.kind == "model"), []).append(found.field)
    items = []
    for (path, is_model), fields in by_path.items():
        make = _model if is_model else _files
        items.append(make(path, tuple(fields), lambda file: hashes.of(file, hashed)))
    hashes.save()
    return UploadPlan(storage or job.spec.storage, tuple(items))


def rewrite(job: AstroJob, plan: UploadPlan) -> AstroJob:
    """The job with each planned path replaced by where it lies in the storage."""
    becomes = {field: plan.reference(item) for item in plan.items for field in item.fields}
    return local.rewritten(job, lambda found: becomes.get(found.field, found.value))


def with_present(plan: UploadPlan, sizes: dict[str, dict[str, int]]) -> UploadPlan:
    """The plan, knowing what is there: bytes of each file by folder and name."""
    present = {
        f"{item.folder}/{f.name}"
        for item in plan.items
        for f in item.files
        if sizes.get(item.folder, {}).get(f.name) == f.size
    }
    return dataclasses.replace(plan, present=frozenset(present))


Hash = Callable[[Path], tuple[int, int, str]]


def _files(path: str, fields: tuple[str, ...], hash_of: Hash) -> Item:
    """A file, or what a pattern matches."""
    found = [Path(p) for p in expand(path, fields[0])]
    if Path(path).is_file():
        file = _local(found[0], Path(path).name, hash_of)
        folder = f"{FOLDER}/{file.sha256[:2]}/{file.sha256}"
        return Item(path, fields, (file,), folder, f"{folder}/{file.name}")
    base, pattern = split_pattern(path)
    files = tuple(_local(p, p.relative_to(base).as_posix(), hash_of) for p in found)
    folder = _tree(files)
    hidden = [f.name for f in files if any(part.startswith(".") for part in f.name.split("/"))]
    notes = (f"the pattern matches hidden files: {_listed(hidden)}",) if hidden else ()
    return Item(path, fields, files, folder, f"{folder}/{pattern}", notes=notes)


def _model(path: str, fields: tuple[str, ...], hash_of: Hash) -> Item:
    """A model's folder: weights, configuration and tokenizer; nothing else that lies there."""
    root = Path(path)
    check_directory(root, fields[0])
    files, left_out = [], []
    for entry in sorted(root.iterdir()):
        if reason := _refusal(entry):
            left_out.append((entry.name, reason))
        else:
            files.append(_local(entry, entry.name, hash_of))
    folder = f"{_tree(files)}/{root.name or 'model'}"
    return Item(path, fields, tuple(files), folder, folder, tuple(left_out))


def _refusal(entry: Path) -> str | None:
    if entry.name.startswith("."):
        return "hidden"
    if entry.suffix in _PICKLES:
        return "not safetensors; pickles are never loaded"
    if entry.is_dir():
        return "a folder"
    return None if entry.name.endswith(WANTED) else "no part of a model"


def split_pattern(path: str) -> tuple[Path, str]:
    """The folder where a pattern begins, and the pattern from there."""
    parts = Path(path).parts
    first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first]), "/".join(parts[first:])


def _local(path: Path, name: str, hash_of: Hash) -> LocalFile:
    size, modified, sha256 = hash_of(path)
    return LocalFile(path, name, size, modified, sha256)


def _tree(files: Iterable[LocalFile]) -> str:
    found = digest(sorted([f.name, f.sha256] for f in files))
    return f"{FOLDER}/{found[:2]}/{found}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
