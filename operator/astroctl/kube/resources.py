"""The kinds of object that this project reads or writes, and where the API has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from astrosage.errors import NotFoundError


@dataclass(frozen=True)
class Resource:
    """One kind.

    Attributes:
        api_version: Such as ``ray.io/v1``.
        kind: Such as ``RayJob``.
        plural: As in URLs.
        namespaced: Whether its objects live in a namespace.
    """

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version in its group."""
        return self.api_version.rpartition("/")[2]

    def path(
        self, namespace: str | None = None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """The URL path of an object, or of all of a namespace or cluster."""
        parts = ["apis" if self.group else "api", self.api_version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [p for p in (self.plural, name, subresource) if p]
        return "/" + "/".join(parts)


ASTROJOB = Resource("astrosage.io/v1alpha1", "AstroJob", "astrojobs")
POOL = Resource("astrosage.io/v1alpha1", "GPUNodePool", "gpunodepools", namespaced=False)
RAYJOB = Resource("ray.io/v1", "RayJob", "rayjobs")
RAYCLUSTER = Resource("ray.io/v1", "RayCluster", "rayclusters")
RAYSERVICE = Resource("ray.io/v1", "RayService", "rayservices")
POD = Resource("v1", "Pod", "pods")
NODE = Resource("v1", "Node", "nodes", namespaced=False)
EVENT = Resource("v1", "Event", "events")
SECRET = Resource("v1", "Secret", "secrets")
CONFIGMAP = Resource("v1", "ConfigMap", "configmaps")
SERVICE = Resource("v1", "Service", "services")
SERVICE_ACCOUNT = Resource("v1", "ServiceAccount", "serviceaccounts")
NAMESPACE = Resource("v1", "Namespace", "namespaces", namespaced=False)
CLAIM = Resource("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
QUOTA = Resource("v1", "ResourceQuota", "resourcequotas")
LEASE = Resource("coordination.k8s.io/v1", "Lease", "leases")
PDB = Resource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
CRD = Resource(
    "apiextensions.k8s.io/v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    namespaced=False,
)
WORKLOAD = Resource("kueue.x-k8s.io/v1beta1", "Workload", "workloads")
LOCAL_QUEUE = Resource("kueue.x-k8s.io/v1beta1", "LocalQueue", "localqueues")
PRIORITY_CLASS = Resource(
    "scheduling.k8s.io/v1", "PriorityClass", "priorityclasses", namespaced=False
)
ACCESS_REVIEW = Resource(
    "authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", False
)

_KNOWN = {(r.api_version, r.kind): r for r in list(globals().values()) if isinstance(r, Resource)}


def resource_of(obj: dict[str, Any]) -> Resource:
    """The kind of an object.

    Raises:
        NotFoundError: For a kind that this project has nothing to do with.
    """
    found = _KNOWN.get((str(obj.get("apiVersion")), str(obj.get("kind"))))
    if found is None:
        raise NotFoundError(f"unknown kind {obj.get('apiVersion')} {obj.get('kind')}")
    return found
