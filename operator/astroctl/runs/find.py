"""From a name on the command line to a run: through the registry, or in a storage."""

from __future__ import annotations

import difflib

from astroctl.runs import registry
from astroctl.runs.registry import Record
from astroctl.targets.choose import choose
from astroctl.targets.jobs_target import JobsTarget
from astrosage.errors import NotFoundError
from astrosage.runs.directory import RunDirectory
from astrosage.runs.storage import Storage


def find(name: str | None, namespace: str = "default", storage: str | None = None) -> Record:
    """The run of that name.

    Args:
        name: ``name`` or ``namespace/name``; None means the one submitted last.
        namespace: Where the name has none.
        storage: Look here rather than in the registry.

    Raises:
        NotFoundError: Naming the nearest known run.
    """
    if name is None:
        return _newest(storage)
    before, _, last = name.rpartition("/")
    namespace = before or namespace
    if storage is None:
        record = registry.get(f"{namespace}/{last}")
        if record is None:
            raise _unknown(f"{namespace}/{last}")
        return record
    directory = RunDirectory(Storage(storage).child(namespace, last))
    if not directory.exists():
        known = [r.name for r in in_storage(storage)]
        raise NotFoundError(
            f"no run `{last}` in {directory.uri}", f"runs there: {', '.join(known) or 'none'}"
        )
    return _from_directory(directory, namespace)


def in_storage(storage: str) -> list[Record]:
    """Every run directory in a storage, newest attempt's stages and number with it."""
    root = Storage(storage)
    found = []
    for namespace in root.names():
        for name in root.names(namespace):
            directory = RunDirectory(root.child(namespace, name))
            if directory.exists():
                found.append(_from_directory(directory, namespace))
    return found


def target_of(record: Record) -> JobsTarget:
    """Where the run was submitted to last; a run that only storage knows is looked for here."""
    if record.target == "ray":
        return choose("ray", record.address, shared_storage=True)
    return choose("local")


def _newest(storage: str | None) -> Record:
    records = in_storage(storage) if storage else registry.all_records()
    if not records:
        raise NotFoundError(
            f"no runs in {storage}" if storage else "no run was submitted from this machine yet",
            "`astroctl submit train -f job.yaml` makes one",
        )
    return records[0]


def _unknown(key: str) -> NotFoundError:
    records = registry.all_records()
    near = difflib.get_close_matches(key, [r.key for r in records], n=1)
    if near:
        hint = f"did you mean `{near[0].removeprefix('default/')}`?"
    else:
        hint = "known: " + (", ".join(r.key for r in records) or "none")
    return NotFoundError(
        f"no run `{key}` is known on this machine",
        f"{hint} (runs of other machines: --storage URI)",
    )


def _from_directory(directory: RunDirectory, namespace: str) -> Record:
    progress = directory.progress()
    known = registry.get(f"{namespace}/{directory.name}")
    if known is not None and known.uri == directory.uri:
        return known
    attempt = int(progress.get("attempt") or 0)
    return Record(
        namespace=namespace,
        name=directory.name,
        uri=directory.uri,
        stages=[s["name"] for s in progress.get("stages", [])],
        attempt=attempt,
        submission_id=registry.submission_id(namespace, directory.name, attempt),
        submitted=float(progress.get("startedAt") or 0.0),
    )
