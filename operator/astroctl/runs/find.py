"""From a name on the command line to a run: through the registry, or in a storage."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from astroctl.runs import registry
from astroctl.runs.registry import Record
from astroctl.targets.choose import ray_target
from astroctl.targets.jobs_target import JobsTarget
from astrosage.errors import NotFoundError
from astrosage.runs.directory import RunDirectory
from astrosage.runs.storage import Storage


@dataclass(frozen=True)
class Where:
    """Which runs are meant, apart from their name.

    Attributes:
        target: Only runs of this target; with ``kubernetes`` the cluster itself is asked.
        context: The kubeconfig's context; given, the cluster is asked.
        kubeconfig: Another kubeconfig; given, the cluster is asked.
    """

    target: str | None = None
    context: str | None = None
    kubeconfig: str | None = None

    @property
    def is_cluster(self) -> bool:
        """Whether a Kubernetes cluster is to be asked and not the registry."""
        return self.target == "kubernetes" or bool(
            self.target is None and (self.context or self.kubeconfig)
        )

    def has(self, record: Record) -> bool:
        """Whether a known run is among those meant."""
        return self.target in (None, record.target or "local")


ANYWHERE = Where()


def find(
    name: str | None,
    namespace: str | None = None,
    storage: str | None = None,
    where: Where = ANYWHERE,
) -> Record:
    """The run of that name.

    Args:
        name: ``name`` or ``namespace/name``; None means the one submitted last.
        namespace: Where the name has none; without it ``default``, or where a known run of that
            name is.
        storage: Look here rather than in the registry.
        where: Look in a Kubernetes cluster, or only among a target's runs.

    Raises:
        NotFoundError: Naming the nearest known run.
    """
    if where.is_cluster and storage is None:
        from astroctl.targets.kubernetes.target import KubernetesTarget

        target = KubernetesTarget(where.context, where.kubeconfig, namespace)
        return target.find(name)
    if name is None:
        return _newest(storage, where)
    before, _, last = name.rpartition("/")
    namespace = before or namespace
    if storage is None:
        return _known(last, namespace, where)
    directory = RunDirectory(Storage(storage).child(namespace or "default", last))
    if not directory.exists():
        known = [r.name for r in in_storage(storage)]
        raise NotFoundError(
            f"no run `{last}` in {directory.uri}", f"runs there: {', '.join(known) or 'none'}"
        )
    return _from_directory(directory, namespace or "default")


def in_storage(storage: str) -> list[Record]:
    """Every run directory in a storage, newest attempt's stages and number with it."""
    root = Storage(storage)
    found = []
    for namespace in (n for n in root.names() if not n.startswith(".")):
        for name in root.names(namespace):
            directory = RunDirectory(root.child(namespace, name))
            if directory.exists():
                found.append(_from_directory(directory, namespace))
    return found


def target_of(record: Record) -> JobsTarget:
    """The Ray cluster the run was submitted to; one that only storage knows is looked for here."""
    if record.target == "ray":
        return ray_target("ray", record.address, shared_storage=True)
    return ray_target("local")


def _known(name: str, namespace: str | None, where: Where) -> Record:
    key = f"{namespace or 'default'}/{name}"
    records = [r for r in registry.all_records() if where.has(r)]
    exact = [r for r in records if r.key == key]
    if not exact and namespace is None:
        exact = [r for r in records if r.name == name]
        if len({r.key for r in exact}) > 1:
            raise NotFoundError(
                f"`{name}` is the name of several runs",
                f"say which: {', '.join(sorted({r.key for r in exact}))}",
            )
    if not exact:
        raise _unknown(key)
    return exact[0]


def _newest(storage: str | None, where: Where) -> Record:
    records = in_storage(storage) if storage else registry.all_records()
    records = [r for r in records if where.has(r)]
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
        f"{hint} (runs of other machines: --storage URI; of a cluster: --target kubernetes)",
    )


def _from_directory(directory: RunDirectory, namespace: str) -> Record:
    progress = directory.progress()
    key = f"{namespace}/{directory.name}"
    for known in registry.all_records():
        if (known.key, known.uri) == (key, directory.uri):
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
