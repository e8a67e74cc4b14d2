"""Models behind RayServices."""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections.abc import Callable
from typing import Any

from astroctl.cli.output import say
from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import AlreadyExists, Forbidden, NoSuchKind
from astroctl.kube.resources import POOL, RAYSERVICE, SECRET
from astroctl.render import rayservice as render
from astroctl.render.linter import lint
from astroctl.render.placement import pool_selector
from astroctl.render.problems import refuse
from astroctl.render.shape import shape
from astroctl.serving import upgrades
from astroctl.serving.account import observe
from astroctl.serving.models import Model
from astroctl.serving.place import Wanted
from astroctl.serving.served import Served, forget, remember
from astroctl.targets.kubernetes.target import KubernetesTarget
from astrosage.errors import ClusterError, ConflictError, NotFoundError
from astrosage.spec.cluster import Cluster
from astrosage.spec.kubernetes import Kubernetes
from astrosage.spec.pool import GPUNodePool

_POLL_SECONDS = 1.0
_PATIENCE_SECONDS = 1800.0
_MANAGED = render.LABEL_ENDPOINT


class KubernetesPlace:
    """The RayServices of a namespace.

    Args:
        target: Cluster and namespace.
        tell: Told what is waited for.
    """

    def __init__(self, target: KubernetesTarget, tell: Callable[[str], None] = say) -> None:
        self._target, self._tell = target, tell

    @property
    def _kube(self) -> Kube:
        return self._target.kube

    def deploy(self, model: Model, name: str, wanted: Wanted) -> Served:
        """Create or update the RayService, and wait until the model answers.

        Raises:
            SpecError: If it cannot be rendered.
            ConflictError: If something else has its name.
            ClusterError: If it does not become ready, saying what it waits for.
        """
        endpoint = slug(name)
        cluster, pool, growth = self._cluster(model, wanted)
        there = self._find(endpoint)
        upgrade = self._upgrade(wanted, cluster, pool, growth)
        manifest = render.rayservice(
            endpoint,
            self._target.namespace,
            model_uri=model.reference,
            served_name=name,
            settings=self._target.settings,
            cluster=cluster,
            keys_secret=render.keys_secret_name(endpoint),
            strategy=upgrade.strategy,
            limits=wanted.limits,
            pool=pool,
        )
        refuse(lint(manifest))
        self._secrets(endpoint)
        self._put(there, manifest, upgrade)
        self._wait(endpoint, wanted.timeout or _PATIENCE_SECONDS)
        served = self._served(manifest)
        remember(served)
        return served

    def status(self) -> list[dict[str, Any]]:
        """The namespace's endpoints."""
        rows = []
        for found in self._list():
            state = observe(self._kube, found)
            served = self._served(found)
            row = {"name": served.name, "status": state.status, "url": served.url}
            rows.append({**row, "model": served.model, "message": state.message})
        return rows

    def stop(self, name: str) -> None:
        """Remove an endpoint with its keys.

        Raises:
            NotFoundError: If there is none.
            ConflictError: If it belongs to a Helm release.
        """
        endpoint = self.endpoint(name)
        self._find(endpoint)
        forget(name, "kubernetes")
        self._kube.delete(RAYSERVICE, endpoint, self._target.namespace)
        for secret in (render.keys_secret_name(endpoint), render.token_secret_name(endpoint)):
            self._kube.delete(SECRET, secret, self._target.namespace)

    def served(self, name: str) -> Served:
        """An endpoint of the namespace.

        Raises:
            NotFoundError: If there is none.
        """
        return self._served(self._kube.get(RAYSERVICE, self.endpoint(name), self._target.namespace))

    def endpoint(self, name: str) -> str:
        """The RayService of a model's name.

        Raises:
            NotFoundError: If there is none.
        """
        for found in self._list():
            meta = found["metadata"]
            if name in (meta["name"], (meta.get("annotations") or {}).get(_SERVED_NAME)):
                return str(meta["name"])
        raise NotFoundError(
            f"no model `{name}` is served in namespace {self._target.namespace}",
            "`astroctl serve --status --target kubernetes` shows what is",
        )

    def _list(self) -> list[Object]:
        try:
            return self._kube.list(RAYSERVICE, self._target.namespace, labels=_MANAGED)
        except NoSuchKind:
            raise _no_kuberay() from None

    def _find(self, endpoint: str) -> Object | None:
        try:
            found = self._kube.find(RAYSERVICE, endpoint, self._target.namespace)
        except NoSuchKind:
            raise _no_kuberay() from None
        if found and not _label(found, render.LABEL_ENDPOINT):
            raise ConflictError(
                f"--name: a RayService `{endpoint}` exists that was not made here",
                "choose another name: --name NAME",
            )
        if found and _label(found, "app.kubernetes.io/managed-by") == "Helm":
            release = _label(found, "app.kubernetes.io/instance")
            raise ConflictError(
                f"RayService `{endpoint}` belongs to the Helm release `{release}`",
                "change the release's values under `endpoint`, or serve under another --name",
            )
        return found

    def _cluster(self, model: Model, wanted: Wanted) -> tuple[Cluster, GPUNodePool | None, int]:
        """What the endpoint's pods are, with the pod options of the run that made the model."""
        workers: Any = wanted.replicas
        if wanted.max_replicas is not None:
            workers = {"min": wanted.replicas, "max": wanted.max_replicas}
        each = {"cpu": wanted.cpus, "gpu": wanted.gpus, "memory": wanted.memory}
        options = model.job.spec.cluster.kubernetes if model.job else Kubernetes()
        cluster = Cluster.model_validate(
            {"workers": workers, "resourcesPerWorker": each, "pool": wanted.pool}
        ).model_copy(update={"kubernetes": options})
        if wanted.pool is None:
            return cluster, None, 0
        from astroctl.targets.kubernetes.precheck import pool_of

        try:
            found = self._kube.get(POOL, wanted.pool)
        except Forbidden:
            return cluster, None, 0
        pool = pool_of(found)
        form = shape(cluster, pool)
        more = pool.spec.max_nodes - int((found.get("status") or {}).get("current") or 0)
        growth = max(0, more) * (pool.spec.gpus_per_node // form.gpus) if form.gpus else 0
        return cluster, pool, growth

    def _upgrade(
        self, wanted: Wanted, cluster: Cluster, pool: GPUNodePool | None, growth: int
    ) -> upgrades.Upgrade:
        if wanted.upgrade != "auto":
            return upgrades.forced(self._kube, wanted.upgrade)
        selector = {**cluster.kubernetes.node_selector, **(pool_selector(pool) if pool else {})}
        return upgrades.choose(self._kube, shape(cluster, pool), selector, growth)

    def _secrets(self, endpoint: str) -> None:
        """Keys and Ray's token, made once: a new version has those of the old one."""
        namespace = self._target.namespace
        keys = {"default": f"sk-{secrets.token_urlsafe(32)}"}
        for made in (
            render.secret(render.keys_secret_name(endpoint), namespace, endpoint, keys),
            render.token_secret(endpoint, namespace, secrets.token_urlsafe(32)),
        ):
            if self._kube.find(SECRET, made["metadata"]["name"], namespace) is None:
                with contextlib.suppress(AlreadyExists):
                    self._kube.create(made)

    def _put(self, there: Object | None, manifest: Object, upgrade: upgrades.Upgrade) -> None:
        if there is None:
            self._tell(f"creating RayService {manifest['metadata']['name']}")
            self._kube.create(manifest)
            return
        if _hash(there) == _hash(manifest):
            self._tell("updating in place: the Ray cluster stays as it is")
        else:
            self._tell(upgrade.reason)
            if upgrade.recreates:
                self._remove_first(manifest["metadata"]["name"])
                self._kube.create(manifest)
                return
        # No precondition: KubeRay writes the status all the while, and ours is the whole spec.
        name = manifest["metadata"]["name"]
        self._kube.patch(RAYSERVICE, name, _new_version(there, manifest), self._target.namespace)

    def _remove_first(self, endpoint: str) -> None:
        namespace = self._target.namespace
        self._kube.delete(RAYSERVICE, endpoint, namespace, policy="Foreground")
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self._kube.find(RAYSERVICE, endpoint, namespace) is not None:
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"RayService {namespace}/{endpoint} does not go away",
                    "its finalizers tell who holds it: kubectl get rayservice -o yaml",
                )
            time.sleep(_POLL_SECONDS)

    def _wait(self, endpoint: str, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        said = ""
        while True:
            service = self._kube.get(RAYSERVICE, endpoint, self._target.namespace)
            state = observe(self._kube, service)
            if state.status == "RUNNING":
                return
            late = time.monotonic() > deadline
            if state.hopeless or late:
                what = "is not ready" if state.hopeless else f"is not ready after {timeout:.0f} s"
                raise ClusterError(
                    f"{endpoint} {what}: {state.message}",
                    state.hint
                    or "it goes on by itself: `astroctl serve --status` shows how far; "
                    f"`astroctl serve --stop {endpoint}` ends it",
                )
            if state.message != said:
                said = state.message
                self._tell(f"waiting: {said}")
            time.sleep(_POLL_SECONDS)

    def _served(self, service: Object) -> Served:
        meta = service["metadata"]
        notes = meta.get("annotations") or {}
        name, namespace = meta["name"], meta["namespace"]
        return Served(
            name=notes.get(_SERVED_NAME, name),
            model=notes.get(render.ANNOTATION_MODEL, ""),
            url=render.service_url(name, namespace, self._target.settings),
            key_file="",
            target="kubernetes",
            address="",
            endpoint=name,
            namespace=namespace,
            context=self._kube.context,
            kubeconfig=self._target.kubeconfig,
        )


_SERVED_NAME = render.ANNOTATION_SERVED_NAME


def slug(name: str) -> str:
    """A model's name as a RayService's: lower case, with `-` for all that is not allowed."""
    found = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return found if found[:1].isalpha() else f"m-{found}".rstrip("-")


def _new_version(there: Object, manifest: Object) -> list[Object]:
    """What changes, as a JSON patch: the spec whole, and our labels and annotations."""
    changes: list[Object] = [{"op": "replace", "path": "/spec", "value": manifest["spec"]}]
    for field in ("labels", "annotations"):
        merged = {**(there["metadata"].get(field) or {}), **manifest["metadata"][field]}
        changes.append({"op": "add", "path": f"/metadata/{field}", "value": merged})
    return changes


def _label(service: Object, name: str) -> str:
    return str((service["metadata"].get("labels") or {}).get(name) or "")


def _hash(service: Object) -> str | None:
    found = (service["metadata"].get("annotations") or {}).get(render.ANNOTATION_CLUSTER)
    return str(found) if found else None


def _no_kuberay() -> NotFoundError:
    return NotFoundError(
        "the cluster does not know RayServices: KubeRay is not installed",
        "an administrator installs it: `astroctl install`",
    )
