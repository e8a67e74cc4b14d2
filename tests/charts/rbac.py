"""The chart's rights on a real API server, so that a test can have them as its only ones."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from astroctl.kube.client import Kube
from astroctl.kube.errors import AlreadyExists
from tests.charts.helm import Helm, Object, helms
from tests.charts.values import merged
from tests.kube import objects
from tests.kube.plane import Plane, Unavailable

ACCOUNT = "astrosage-operator"
_KINDS = {
    "ServiceAccount": "serviceaccounts",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
}
# Roles for people have one name in the whole cluster, and tests run side by side.
_ALONE: dict[str, Any] = {"rbac": {"aggregate": False, "readers": []}, "tests": {"enabled": False}}


def install_rbac(
    kube: Kube,
    plane: Plane,
    namespace: str,
    folder: Path,
    *,
    values: dict[str, Any] | None = None,
    helm: Helm | None = None,
) -> Path:
    """Give the operator's service account the chart's rights; :func:`remove_rbac` takes them back.

    Args:
        kube: The administrator's client.
        plane: The cluster.
        namespace: The release's, and so where the operator and jobs are.
        folder: Where the kubeconfig is written.
        values: Of the chart, such as ``{"pools": {"enabled": True}}``.
        helm: Which helm; the newest if not given.

    Returns:
        The kubeconfig of the operator's service account.

    Raises:
        Unavailable: If there is no helm.
    """
    for obj in rendered(namespace, values, helm):
        with contextlib.suppress(AlreadyExists):
            kube.request("POST", path(obj), obj)
    token = objects.token(kube, namespace, ACCOUNT)
    return plane.kubeconfig_for(folder / "operator.kubeconfig", token, namespace)


def remove_rbac(kube: Kube, namespace: str) -> None:
    """Remove what lies outside of the namespace; the rest goes with it."""
    base = "/apis/rbac.authorization.k8s.io/v1"
    outside = ("clusterrolebindings", "clusterroles")
    for kind in (*outside, *(f"namespaces/default/{k}" for k in ("rolebindings", "roles"))):
        for item in kube.request("GET", f"{base}/{kind}")["items"]:
            if item["metadata"]["name"].startswith(f"{namespace}:"):
                kube.request("DELETE", f"{base}/{kind}/{item['metadata']['name']}")


def rendered(
    namespace: str, values: dict[str, Any] | None = None, helm: Helm | None = None
) -> list[Object]:
    """The chart's accounts, roles and bindings.

    Raises:
        Unavailable: If there is no helm.
    """
    if helm is None and not helms():
        raise Unavailable("no helm: set ASTRO_TEST_HELM, or have it on the PATH")
    helm = helm or helms()[-1]
    found = helm.template(merged(_ALONE, values or {}), namespace=namespace)
    return [o for o in found if o["kind"] in _KINDS]


def path(obj: Object) -> str:
    """Where the API has objects of its kind."""
    version, kind = obj["apiVersion"], obj["kind"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    namespace = obj["metadata"].get("namespace")
    place = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{place}/{_KINDS[kind]}"


def allowed(
    kube: Kube,
    user: str,
    verb: str,
    resource: str,
    *,
    group: str = "",
    namespace: str | None = None,
    name: str | None = None,
) -> bool:
    """Whether a user may do something, as the API server's authoriser says.

    Args:
        kube: The administrator's client.
        user: Such as ``system:serviceaccount:<namespace>:<name>``.
        verb: Such as ``get``.
        resource: Plural, with ``/subresource`` where one is meant.
        group: The API group.
        namespace: None asks for the whole cluster.
        name: Of one object.
    """
    kind, _, subresource = resource.partition("/")
    asked = {"verb": verb, "group": group, "resource": kind, "subresource": subresource}
    asked |= {"namespace": namespace or "", "name": name or ""}
    answer = kube.request(
        "POST",
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user, "resourceAttributes": asked},
        },
    )
    return bool(answer["status"].get("allowed"))
