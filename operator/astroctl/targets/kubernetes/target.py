"""Which cluster, which namespace, and how the operator there is set up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import Forbidden, NoSuchKind
from astroctl.kube.resources import ASTROJOB, CONFIGMAP
from astroctl.runs import registry
from astroctl.runs.registry import Record
from astrosage.errors import NotFoundError
from astrosage.spec.base import did_you_mean

if TYPE_CHECKING:
    from astroctl.render.settings import Settings
    from astroctl.runs.state import View

SYSTEM_NAMESPACE = "astrosage-system"
_IN_CLUSTER = "in-cluster"


def system_namespace() -> str:
    """Where the operator is installed: ``ASTROCTL_SYSTEM_NAMESPACE``, else astrosage-system."""
    return os.environ.get("ASTROCTL_SYSTEM_NAMESPACE") or SYSTEM_NAMESPACE


@lru_cache(maxsize=16)
def _connected(context: str | None, kubeconfig: str | None, default: str | None) -> Kube:
    """One client for each cluster, however many runs are asked for."""
    return Kube.connect(context, kubeconfig)


class KubernetesTarget:
    """A cluster; it is asked when something is first wanted of it.

    Args:
        context: The kubeconfig's context; default: its current one, in a pod the pod's own.
        kubeconfig: Another kubeconfig.
        namespace: Where jobs are; default: the context's namespace.
    """

    name = "kubernetes"

    def __init__(
        self,
        context: str | None = None,
        kubeconfig: str | None = None,
        namespace: str | None = None,
    ) -> None:
        self._context, self._kubeconfig, self._namespace = context, kubeconfig, namespace

    @classmethod
    def of(cls, record: Record) -> KubernetesTarget:
        """Where a known run is."""
        context = None if record.context == _IN_CLUSTER else record.context or None
        return cls(context, record.kubeconfig or None, record.namespace)

    @cached_property
    def kube(self) -> Kube:
        """The cluster's API.

        Raises:
            NotFoundError, ClusterError: If there is no usable kubeconfig.
        """
        return _connected(self._context, self._kubeconfig, os.environ.get("KUBECONFIG"))

    @property
    def kubeconfig(self) -> str:
        """Path of the kubeconfig, if it is not the usual one."""
        return os.path.abspath(self._kubeconfig) if self._kubeconfig else ""

    @property
    def namespace(self) -> str:
        """Where jobs are looked for."""
        return self._namespace or self.kube.namespace

    @cached_property
    def settings(self) -> Settings:
        """The installation's settings; the built-in ones where they cannot be read."""
        from astroctl.render.settings import CONFIG_KEY, CONFIG_MAP, Settings, parse

        try:
            found = self.kube.find(CONFIGMAP, CONFIG_MAP, system_namespace())
        except Forbidden:
            found = None
        if found is None:
            return Settings()
        source = f"ConfigMap {system_namespace()}/{CONFIG_MAP}"
        return parse((found.get("data") or {}).get(CONFIG_KEY) or "", source=source)

    def get(self, record: Record) -> Object:
        """A run's AstroJob.

        Raises:
            Missing: If there is none.
        """
        return self.kube.get(ASTROJOB, record.name, record.namespace)

    def record(self, obj: Object) -> Record:
        """The record of an AstroJob."""
        from astroctl.targets.kubernetes.account import record_of

        return record_of(obj, self.kube.context, self.kubeconfig, lambda: self.settings)

    def find(self, name: str | None) -> Record:
        """The AstroJob of that name, or the newest one.

        Raises:
            NotFoundError: If there is none; the nearest name is told.
        """
        before, _, last = (name or "").rpartition("/")
        namespace = before or self.namespace
        if name is not None:
            obj = self.kube.find(ASTROJOB, last, namespace)
            if obj is not None:
                return self.record(obj)
            known = registry.named(f"{namespace}/{last}")
            if known is not None and known.target == self.name:
                return known  # its object is gone; its run directory may be there
        found = self.kube.list(ASTROJOB, namespace)
        if name is None and found:
            return self.record(max(found, key=lambda o: str(o["metadata"]["creationTimestamp"])))
        names = [o["metadata"]["name"] for o in found]
        what = f"no AstroJob `{last}`" if name else "no AstroJob"
        raise NotFoundError(
            f"{what} in namespace `{namespace}` of {self.kube.context or self.kube.host}",
            (did_you_mean(last, names) if name and names else "")
            or "`astroctl list --target kubernetes -A` shows those of all namespaces",
        )

    def views(self, namespace: str | None) -> Iterator[View]:
        """What all AstroJobs of a namespace, or of the cluster, do; newest first."""
        from astroctl.targets.kubernetes.account import account

        found = self.kube.list(ASTROJOB, namespace)
        for obj in sorted(found, key=lambda o: o["metadata"]["creationTimestamp"], reverse=True):
            yield account(self.record(obj), obj)


def without_kind(error: NoSuchKind) -> NotFoundError:
    """What a cluster without our definitions means for a person."""
    return NotFoundError(
        "the cluster does not know AstroJobs",
        "an administrator installs them: `astroctl install` (`astroctl doctor --target "
        "kubernetes` shows what else is missing)",
    )
