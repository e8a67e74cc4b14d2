"""The chart's rights, as a real API server understands them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from astroctl.kube.client import Kube
from astroctl.kube.errors import Forbidden
from astroctl.kube.resources import LEASE, NODE, SECRET
from tests.charts.helm import Helm
from tests.charts.rbac import ACCOUNT, allowed, install_rbac, path, remove_rbac, rendered
from tests.charts.values import merged
from tests.kube import objects
from tests.kube.plane import Plane

ASTRO, RAY, KUEUE = "astrosage.io", "ray.io", "kueue.x-k8s.io"
IN_NAMESPACES = {
    (ASTRO, "astrojobs"): "get list watch patch delete",
    (ASTRO, "astrojobs/status"): "patch",
    (ASTRO, "astrojobs/finalizers"): "update",
    (RAY, "rayjobs"): "get list watch create delete",
    ("", "secrets"): "get create",
    ("policy", "poddisruptionbudgets"): "create",
    ("", "pods"): "get list",
    ("", "persistentvolumeclaims"): "get list",
    ("", "events"): "list create",
    (KUEUE, "workloads"): "get list",
    (KUEUE, "localqueues"): "get list",
}
FOR_POOLS = {
    (ASTRO, "gpunodepools"): "get list watch",
    (ASTRO, "gpunodepools/status"): "patch",
    ("", "nodes"): "list patch",
    ("", "pods"): "list",
    (RAY, "rayclusters"): "list",
    (ASTRO, "astrojobs"): "list",
    ("cluster.x-k8s.io", "machinedeployments"): "get patch",
    ("cluster.x-k8s.io", "machinedeployments/scale"): "get patch",
    ("cluster.x-k8s.io", "machines"): "get patch",
    ("karpenter.sh", "nodepools"): "get patch",
    ("karpenter.sh", "nodepools/scale"): "get patch",
    ("karpenter.sh", "nodeclaims"): "get list patch",
    ("autoscaling", "horizontalpodautoscalers"): "list",
}
VERBS = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"]
NEVER = [
    ("", "pods", "create"),
    ("", "pods/exec", "create"),
    ("", "pods", "delete"),
    ("", "secrets", "list"),
    ("", "secrets", "delete"),
    ("", "serviceaccounts/token", "create"),
    ("", "serviceaccounts", "impersonate"),
    ("rbac.authorization.k8s.io", "roles", "create"),
    ("rbac.authorization.k8s.io", "rolebindings", "create"),
    ("apps", "deployments", "create"),
    (ASTRO, "astrojobs", "create"),
    ("", "nodes", "delete"),
]


@pytest.fixture
def rights(plane: Plane, kube: Kube, namespace: str, tmp_path: Path) -> Iterator[Path]:
    yield install_rbac(kube, plane, namespace, tmp_path)
    remove_rbac(kube, namespace)


@pytest.fixture
def pool_rights(plane: Plane, kube: Kube, namespace: str, tmp_path: Path) -> Iterator[Path]:
    yield install_rbac(kube, plane, namespace, tmp_path, values={"pools": {"enabled": True}})
    remove_rbac(kube, namespace)


def may(kube: Kube, account: str, place: str | None, group: str, resource: str) -> str:
    """The verbs that an account may use on a resource."""
    user = f"system:serviceaccount:{account}:{ACCOUNT}"
    found = (v for v in VERBS if allowed(kube, user, v, resource, group=group, namespace=place))
    return " ".join(found)


@pytest.mark.usefixtures("rights")
def test_the_operator_may_do_what_it_does_where_it_watches(kube: Kube, namespace: str) -> None:
    for (group, resource), verbs in IN_NAMESPACES.items():
        assert may(kube, namespace, namespace, group, resource) == _sorted(verbs), resource


@pytest.mark.usefixtures("rights")
def test_it_may_do_nothing_elsewhere(kube: Kube, namespace: str) -> None:
    for group, resource in {**IN_NAMESPACES, **FOR_POOLS}:
        assert may(kube, namespace, None, group, resource) == "", resource
        assert may(kube, namespace, "kube-system", group, resource) == "", resource


@pytest.mark.usefixtures("pool_rights")
def test_pools_need_more(kube: Kube, namespace: str) -> None:
    for (group, resource), verbs in FOR_POOLS.items():
        assert may(kube, namespace, None, group, resource) == _sorted(verbs), resource
    # A pool's events are in the namespace of what has none.
    assert may(kube, namespace, "default", "", "events") == "create"
    assert may(kube, namespace, "kube-system", "", "events") == ""


@pytest.mark.usefixtures("pool_rights")
@pytest.mark.parametrize(("group", "resource", "verb"), NEVER)
def test_never(kube: Kube, namespace: str, group: str, resource: str, verb: str) -> None:
    user = f"system:serviceaccount:{namespace}:{ACCOUNT}"
    for place in (None, namespace):
        assert not allowed(kube, user, verb, resource, group=group, namespace=place)


def test_it_can_lead_and_only_by_its_own_lease(rights: Path, namespace: str) -> None:
    kube = Kube.connect(kubeconfig=str(rights))
    lease = {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "spec": {}}
    for name in ("astrosage-operator", "another"):
        kube.create({**lease, "metadata": {"name": name, "namespace": namespace}})
    kube.replace(kube.get(LEASE, "astrosage-operator", namespace))
    with pytest.raises(Forbidden):
        kube.get(LEASE, "another", namespace)


def test_it_reads_one_secret_by_name_but_no_list(kube: Kube, rights: Path, namespace: str) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "stringData": {"auth_token": "t"}}
    kube.create({**secret, "metadata": {"name": "j-ray-token", "namespace": namespace}})
    mine = Kube.connect(kubeconfig=str(rights))
    assert mine.get(SECRET, "j-ray-token", namespace)["data"]
    with pytest.raises(Forbidden):
        mine.list(SECRET, namespace)
    with pytest.raises(Forbidden):
        mine.list(NODE)


def test_other_namespaces_are_watched_when_listed(
    plane: Plane, kube: Kube, namespace: str, tmp_path: Path
) -> None:
    team = f"{namespace}-team"
    objects.make_namespace(kube, team, wait=plane.has_controllers)
    install_rbac(kube, plane, namespace, tmp_path, values={"watchNamespaces": [team]})
    assert may(kube, namespace, team, RAY, "rayjobs") == "get list watch create delete"
    # The lease is in its own namespace only.
    user = f"system:serviceaccount:{namespace}:{ACCOUNT}"
    create = {"group": LEASE.group, "namespace": team}
    assert not allowed(kube, user, "create", "leases", **create)
    objects.remove_namespace(kube, team)


def test_all_namespaces_when_told(plane: Plane, kube: Kube, namespace: str, tmp_path: Path) -> None:
    install_rbac(kube, plane, namespace, tmp_path, values={"watchAllNamespaces": True})
    assert may(kube, namespace, None, ASTRO, "astrojobs") == "get list watch patch delete"
    remove_rbac(kube, namespace)
    assert may(kube, namespace, None, ASTRO, "astrojobs") == ""


def test_nodes_may_be_read_when_told(
    plane: Plane, kube: Kube, namespace: str, tmp_path: Path
) -> None:
    install_rbac(kube, plane, namespace, tmp_path, values={"rbac": {"readNodes": True}})
    assert may(kube, namespace, None, "", "nodes") == "list"
    remove_rbac(kube, namespace)


def test_jobs_have_no_right(rights: Path, kube: Kube, namespace: str) -> None:
    user = f"system:serviceaccount:{namespace}:astrosage-jobs"
    for group, resource in IN_NAMESPACES:
        for verb in VERBS:
            assert not allowed(kube, user, verb, resource, group=group, namespace=namespace)


def test_people_who_edit_may_run_jobs_and_who_view_may_see_them(
    plane: Plane, kube: Kube, namespace: str, new_helm: Helm
) -> None:
    """The controller manager adds the roles to edit and view."""
    if not plane.has_controllers:
        pytest.skip("no controllers here: roles are not aggregated")
    values = {"rbac": {"aggregate": True}, "fullnameOverride": namespace}
    roles = [o for o in rendered(namespace, values, new_helm) if o["kind"] == "ClusterRole"]
    for role in roles:
        kube.request("POST", path(role), role)
    for who in ("edit", "view"):
        _bind(kube, namespace, who)

    def can(who: str, verb: str, resource: str, group: str = ASTRO) -> bool:
        return allowed(kube, who, verb, resource, group=group, namespace=namespace)

    objects.eventually(
        lambda: can("view", "get", "astrojobs") and can("edit", "create", "astrojobs")
    )
    assert can("edit", "delete", "astrojobs")
    assert can("edit", "create", "rayservices", RAY)
    assert not can("edit", "patch", "astrojobs/status")
    assert not can("edit", "create", "gpunodepools")
    assert not can("view", "create", "astrojobs")
    assert not can("view", "get", "secrets", "")
    for role in roles:
        kube.request("DELETE", f"{path(role)}/{role['metadata']['name']}")


def _bind(kube: Kube, namespace: str, who: str) -> None:
    api = "rbac.authorization.k8s.io"
    kube.request(
        "POST",
        f"/apis/{api}/v1/namespaces/{namespace}/rolebindings",
        {
            "apiVersion": f"{api}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": who, "namespace": namespace},
            "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": who},
            "subjects": [{"apiGroup": api, "kind": "User", "name": who}],
        },
    )


def _sorted(verbs: str) -> str:
    return " ".join(v for v in VERBS if v in verbs.split())


def test_values_merge() -> None:
    assert merged({"a": {"b": 1}}, {"a": {"c": 2}}) == {"a": {"b": 1, "c": 2}}
