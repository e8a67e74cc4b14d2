"""Everything that a job names in its namespace: is it there, and does it hold what is named?

What this account may not see is left to the operator, which says in the job's status what is
missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import Forbidden, Missing, NoSuchKind
from astroctl.kube.resources import (
    CLAIM,
    LOCAL_QUEUE,
    NODE,
    PRIORITY_CLASS,
    SECRET,
    SERVICE_ACCOUNT,
    Resource,
)
from astroctl.render.settings import Settings
from astroctl.render.storage import claim_and_path
from astroctl.targets.kubernetes.manifests import cluster_field
from astrosage.errors import NotFoundError, SpecError
from astrosage.spec.base import did_you_mean
from astrosage.spec.cluster import Cluster
from astrosage.spec.job import AstroJob
from astrosage.spec.kubernetes import Variable
from astrosage.spec.stages import Stage

_WHOLE = ("ReadWriteMany",)


class References:
    """What a job names in its namespace.

    Args:
        kube: The cluster.
        job: The job, with its storage.
        stages: Those that shall run.
        settings: The installation's.
    """

    def __init__(
        self, kube: Kube, job: AstroJob, stages: Sequence[Stage], settings: Settings
    ) -> None:
        self._kube, self._job, self._stages, self._settings = kube, job, stages, settings
        self._namespace = job.metadata.namespace
        self._seen: dict[tuple[str, str], Object | None] = {}

    def check(self) -> list[str]:
        """Warnings.

        Raises:
            NotFoundError: For what is missing, naming the field.
            SpecError: For a claim that several pods cannot share.
        """
        warnings = list(self._claim())
        for field, cluster in self._clusters():
            kubernetes = cluster.kubernetes
            self._secrets(field, cluster)
            for name, kind, value in (
                ("serviceAccount", SERVICE_ACCOUNT, kubernetes.service_account),
                ("priorityClass", PRIORITY_CLASS, kubernetes.priority_class),
            ):
                if value is not None:
                    self._named(kind, value, f"{field}.kubernetes.{name}")
            if cluster.queue is not None:
                self._queue(cluster.queue, f"{field}.queue")
        return warnings

    def _clusters(self) -> Iterator[tuple[str, Cluster]]:
        seen = set()
        for stage in self._stages:
            field = cluster_field(self._job, stage)
            if field not in seen:
                seen.add(field)
                yield field, self._job.cluster_of(stage)

    def _secrets(self, field: str, cluster: Cluster) -> None:
        kubernetes, settings = cluster.kubernetes, self._settings
        for where, names in (
            (f"{field}.kubernetes.envFromSecrets", kubernetes.env_from_secrets),
            (f"{field}.kubernetes.imagePullSecrets", kubernetes.image_pull_secrets or []),
            ("the installation's envFromSecrets", settings.env_from_secrets),
        ):
            for name in names:
                self._named(SECRET, name, where)
        for where, variables in (
            (f"{field}.kubernetes.env", kubernetes.env),
            ("the installation's env", settings.env),
        ):
            for variable in variables:
                self._secret_key(variable, where)

    def _secret_key(self, variable: Variable, where: str) -> None:
        if variable.secret is None:
            return
        name, key = variable.secret.name, variable.secret.key
        found = self._named(SECRET, name, f"{where}: {variable.name}")
        keys = sorted((found or {}).get("data") or {})
        if found is not None and key not in keys:
            raise NotFoundError(
                f"{where}: {variable.name}: Secret `{name}` in namespace `{self._namespace}` has "
                f"no key `{key}`",
                did_you_mean(key, keys),
            )

    def _named(self, kind: Resource, name: str, where: str) -> Object | None:
        """The object; None where it may not be seen.

        Raises:
            NotFoundError: If there is none.
        """
        key = (kind.kind, name)
        if key not in self._seen:
            try:
                self._seen[key] = self._kube.get(kind, name, self._namespace)
            except Forbidden:
                self._seen[key] = None
            except Missing:
                place = f" in namespace `{self._namespace}`" if kind.namespaced else ""
                raise NotFoundError(
                    f"{where}: there is no {kind.kind} `{name}`{place}",
                    did_you_mean(name, self._others(kind)),
                ) from None
        return self._seen[key]

    def _others(self, kind: Resource) -> list[str]:
        found = visible(lambda: self._kube.list(kind, self._namespace)) or []
        return [o["metadata"]["name"] for o in found]

    def _queue(self, queue: str, where: str) -> None:
        try:
            self._named(LOCAL_QUEUE, queue, where)
        except NoSuchKind:
            raise NotFoundError(
                f"{where}: Kueue, whose LocalQueue `{queue}` would be, is not installed",
                "leave `queue` out, or have it installed: `astroctl install --kueue`",
            ) from None

    def _claim(self) -> Iterator[str]:
        storage = self._job.spec.storage
        if not storage.startswith("pvc://"):
            return
        name = claim_and_path(storage)[0]
        claim = self._named(CLAIM, name, "spec.storage")
        if claim is None:
            return
        modes = (claim.get("status") or {}).get("accessModes") or claim["spec"]["accessModes"]
        if any(m in _WHOLE for m in modes):
            return
        said = f"spec.storage: PersistentVolumeClaim `{name}` is {', '.join(modes)}"
        hint = (
            "use a claim with ReadWriteMany (a shared file system), or an object store: s3://, "
            "gs://, az://"
        )
        if modes == ["ReadOnlyMany"]:
            raise SpecError(f"{said}: runs write to it", hint)
        if modes == ["ReadWriteOncePod"]:
            raise SpecError(f"{said}: a run has a head and workers, which share it", hint)
        if self._on_one_node(claim):
            yield f"{said}: all pods of the run must go to the one node that has it"
        else:
            raise SpecError(
                f"{said}: only pods of one node could use it, and the cluster has several nodes",
                hint,
            )

    def _on_one_node(self, claim: Object) -> bool:
        """Whether all pods land on one node anyway, or nobody can tell."""
        nodes = visible(lambda: self._kube.list(NODE))
        if nodes is None or len(nodes) <= 1:
            return True
        volume = (claim.get("spec") or {}).get("volumeName")
        if not volume:
            return False
        path = f"/api/v1/persistentvolumes/{volume}"
        found = visible(lambda: self._kube.request("GET", path))
        # A volume on a node's own disk draws all its pods there.
        return bool(found is None or (found["spec"].get("nodeAffinity") or {}).get("required"))


def visible(ask: Callable[[], Any]) -> Any:
    """What is asked for; None where this account may not see it or it is not there."""
    try:
        return ask()
    except (Forbidden, Missing, NoSuchKind):
        return None
