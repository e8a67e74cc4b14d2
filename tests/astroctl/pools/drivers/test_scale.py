"""Drivers of Kubernetes objects against a real API server with Cluster API's and Karpenter's
definitions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from astroctl.kube.client import Kube
from astroctl.kube.errors import ApiError, Changed
from astroctl.kube.resources import CRD
from astroctl.pools.drivers import retry
from astroctl.pools.drivers.base import Denied, NodeRef, Owned, ReferenceGone, Throttled
from astroctl.pools.drivers.karpenter import KarpenterDriver
from astroctl.pools.drivers.scale import ScaleDriver
from astrosage.spec.pool import PoolReference, PoolSpec
from tests.astroctl.pools.yard import (
    API,
    MACHINE,
    MACHINE_DEPLOYMENT,
    NODE_CLAIM,
    NODE_POOL,
    Yard,
    machines_crd,
    post,
)
from tests.kube.fixtures import UserMaker

MIN_SIZE = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-min-size"
MAX_SIZE = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-max-size"


@pytest.fixture
def yard(kube: Kube, crds: list[str], namespace: str) -> Iterator[Yard]:
    machines_crd(kube)
    made = Yard(kube, namespace)
    yield made
    made.clear()


def driver(yard: Yard, kube: Kube | None = None, kind: str = "MachineDeployment") -> ScaleDriver:
    reference = PoolReference(api_version=API, kind=kind, name=yard.name, namespace=yard.namespace)
    return ScaleDriver(kube or yard.kube, reference)


def test_size_is_read_and_set(yard: Yard) -> None:
    yard.deployment(1)
    pool = driver(yard)
    size = pool.get()
    assert (size.current, size.desired, size.controls, size.names_nodes) == (
        1,
        1,
        "replicas",
        True,
    )
    pool.set_size(3)
    assert yard.replicas == 3
    pool.set_size(4)
    assert yard.replicas == 4


@pytest.mark.parametrize("kind", ["MachineSet", "MachinePool"])
def test_other_kinds_by_discovery(yard: Yard, kind: str) -> None:
    from astroctl.kube.resources import Resource

    resource = Resource(API, kind, f"{kind.lower()}s")
    template = {
        "spec": {
            "clusterName": "c",
            "bootstrap": {"dataSecretName": "none"},
            "infrastructureRef": {"apiGroup": "x.io", "kind": "X", "name": "x"},
        }
    }
    spec = {"clusterName": "c", "replicas": 1, "template": template}
    if kind == "MachineSet":
        spec["selector"] = {"matchLabels": {"a": "b"}}
    meta = {"name": yard.name, "namespace": yard.namespace}
    post(yard.kube, resource, {"metadata": meta, "spec": spec})
    pool = driver(yard, kind=kind)
    assert pool.get().names_nodes == (kind == "MachineSet")
    pool.set_size(2)
    assert yard.kube.get(resource, yard.name, yard.namespace)["spec"]["replicas"] == 2


def test_a_number_that_someone_set_meanwhile_is_not_overwritten(yard: Yard) -> None:
    yard.deployment(1)
    pool = driver(yard)
    pool.get()
    yard.kube.patch(MACHINE_DEPLOYMENT, yard.name, {"spec": {"replicas": 5}}, yard.namespace)
    with pytest.raises(Changed, match="set to 5 replicas while 1 were seen"):
        pool.set_size(2)
    assert yard.replicas == 5


def test_a_change_of_something_else_does_no_harm(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version moves between read and write: the write is refused, and done again."""
    yard.deployment(1)
    pool = driver(yard)
    pool.get()
    send, meddled = yard.kube.patch, []

    def patch(kind, name, body, namespace=None, subresource=None):
        if subresource == "scale" and not meddled:
            meddled.append(1)
            label = {"metadata": {"labels": {"moved": "yes"}}}
            send(MACHINE_DEPLOYMENT, yard.name, label, yard.namespace)
        return send(kind, name, body, namespace, subresource)

    monkeypatch.setattr(yard.kube, "patch", patch)
    pool.set_size(2)
    assert meddled
    assert yard.replicas == 2


def test_chosen_machines_go_first(yard: Yard) -> None:
    yard.deployment(3)
    pool = driver(yard)
    pool.get()
    names = sorted(n["metadata"]["name"] for n in yard.nodes())
    pool.remove([NodeRef(names[1], machine=(yard.namespace, names[1]))])
    assert yard.replicas == 2
    machine = yard.kube.get(MACHINE, names[1], yard.namespace)
    assert machine["metadata"]["annotations"] == {"cluster.x-k8s.io/delete-machine": "yes"}
    yard.move()
    assert sorted(n["metadata"]["name"] for n in yard.nodes()) == [names[0], names[2]]


def test_where_the_cluster_autoscaler_owns_it_only_limits_change(yard: Yard) -> None:
    yard.deployment(1, **{MIN_SIZE: "0", MAX_SIZE: "3"})
    pool = driver(yard)
    size = pool.get()
    assert (size.controls, size.minimum, size.maximum) == ("bounds", 0, 3)
    for attempt in (lambda: pool.set_size(2), lambda: pool.remove([NodeRef("n")])):
        with pytest.raises(Owned, match="cluster-autoscaler"):
            attempt()
    assert yard.replicas == 1
    pool.set_bounds(1, 5)
    size = pool.get()
    assert (size.minimum, size.maximum, size.desired) == (1, 5, 1)


def test_a_program_that_sets_replicas_owns_them(yard: Yard) -> None:
    yard.deployment(1)
    path = MACHINE_DEPLOYMENT.path(yard.namespace, yard.name)
    yard.kube.request(
        "PATCH",
        path,
        {"spec": {"replicas": 2}},
        content_type="application/merge-patch+json",
        fieldManager="argocd-controller",
    )
    size = driver(yard).get()
    assert size.controls == "nothing"
    assert "argocd-controller" in size.owner
    with pytest.raises(Owned):
        driver(yard).set_size(3)
    # A person takes it back.
    yard.kube.request(
        "PATCH",
        path,
        {"spec": {"replicas": 1}},
        content_type="application/merge-patch+json",
        fieldManager="kubectl-patch",
    )
    assert driver(yard).get().controls == "replicas"


def test_our_own_writes_are_no_owner(yard: Yard) -> None:
    yard.deployment(1)
    pool = driver(yard)
    pool.set_size(2)
    assert driver(yard).get().controls == "replicas"


def test_a_pod_autoscaler_owns_them(yard: Yard) -> None:
    yard.deployment(1)
    target = {"apiVersion": API, "kind": "MachineDeployment", "name": yard.name}
    path = f"/apis/autoscaling/v1/namespaces/{yard.namespace}/horizontalpodautoscalers"
    yard.kube.request(
        "POST",
        path,
        {"metadata": {"name": "hpa"}, "spec": {"scaleTargetRef": target, "maxReplicas": 3}},
    )
    size = driver(yard).get()
    assert size.controls == "nothing"
    assert "HorizontalPodAutoscaler hpa" in size.owner


def test_what_is_gone(yard: Yard) -> None:
    with pytest.raises(ReferenceGone, match=f"MachineDeployment .*{yard.name} does not exist"):
        driver(yard).get()
    with pytest.raises(ReferenceGone, match="MachineThing"):
        driver(yard, kind="MachineThing").get()
    unknown = PoolReference(api_version="nobody.io/v1", kind="Thing", name="x")
    with pytest.raises(ReferenceGone, match="does not exist"):
        ScaleDriver(yard.kube, unknown).get()


def test_what_is_denied_names_the_right(yard: Yard, user: UserMaker) -> None:
    yard.deployment(1)
    reading = {
        "apiGroups": ["cluster.x-k8s.io", "autoscaling"],
        "resources": ["machinedeployments", "horizontalpodautoscalers"],
        "verbs": ["get", "list"],
    }
    reader = driver(yard, Kube.connect(kubeconfig=str(user("reader", [reading]))))
    assert reader.get().desired == 1
    with pytest.raises(Denied, match="machinedeployments/scale"):
        reader.set_size(2)
    nobody = driver(yard, Kube.connect(kubeconfig=str(user("nobody"))))
    with pytest.raises(Denied, match="cannot get resource"):
        nobody.get()


def node_pool(yard: Yard, **spec: object) -> None:
    ref = {"group": "x.io", "kind": "X", "name": "x"}
    body = {"template": {"spec": {"nodeClassRef": ref, "requirements": []}}, **spec}
    post(yard.kube, NODE_POOL, {"metadata": {"name": yard.name}, "spec": body})


@pytest.fixture
def karpenter(yard: Yard) -> Iterator[Yard]:
    yield yard
    yard.kube.delete(NODE_POOL, yard.name)
    for claim in yard.kube.list(NODE_CLAIM, labels=f"karpenter.sh/nodepool={yard.name}"):
        yard.kube.delete(NODE_CLAIM, claim["metadata"]["name"])


def test_karpenters_static_pools(karpenter: Yard) -> None:
    yard = karpenter
    node_pool(yard, replicas=2)
    for name in ("one", "two"):
        labels = {"karpenter.sh/nodepool": yard.name}
        meta = {"name": f"{yard.name}-{name}", "labels": labels}
        ref = {"group": "x.io", "kind": "X", "name": "x"}
        post(
            yard.kube,
            NODE_CLAIM,
            {"metadata": meta, "spec": {"nodeClassRef": ref, "requirements": []}},
        )
        status = {"status": {"nodeName": f"node-{name}"}}
        yard.kube.patch(NODE_CLAIM, meta["name"], status, subresource="status")
    yard.kube.patch(NODE_POOL, yard.name, {"status": {"nodes": 2}}, subresource="status")
    reference = PoolReference(api_version="karpenter.sh/v1", kind="NodePool", name=yard.name)
    pool = ScaleDriver(yard.kube, reference)
    size = pool.get()
    assert (size.current, size.desired, size.controls) == (2, 2, "replicas")
    pool.remove([NodeRef("node-two")])
    assert yard.kube.get(NODE_POOL, yard.name)["spec"]["replicas"] == 1
    marked = {
        c["metadata"]["name"]: c["metadata"].get("annotations")
        for c in yard.kube.list(NODE_CLAIM, labels=f"karpenter.sh/nodepool={yard.name}")
    }
    assert marked == {
        f"{yard.name}-one": None,
        f"{yard.name}-two": {"karpenter.sh/deprovisioning-priority": "1000"},
    }


def karpenter_spec(yard: Yard, **more: object) -> PoolSpec:
    reference = {"name": yard.name}
    return PoolSpec.model_validate(
        {"driver": "karpenter", "reference": reference, "maxNodes": 8, **more}
    )


def test_karpenters_dynamic_pools_get_limits_only(karpenter: Yard) -> None:
    yard = karpenter
    node_pool(yard, limits={"cpu": "1k", "nvidia.com/gpu": "16"})
    pool = KarpenterDriver(yard.kube, karpenter_spec(yard))
    size = pool.get()
    assert (size.current, size.maximum, size.controls) == (0, 2, "limits")
    assert "Karpenter" in size.owner
    for attempt in (lambda: pool.set_size(2), lambda: pool.remove([NodeRef("n")])):
        with pytest.raises(Owned, match="Karpenter"):
            attempt()
    pool.set_bounds(0, 3)
    limits = yard.kube.get(NODE_POOL, yard.name)["spec"]["limits"]
    assert limits == {"cpu": "1k", "nvidia.com/gpu": "24"}
    assert pool.get().maximum == 3


def test_nodes_are_counted_where_there_are_no_gpus(karpenter: Yard) -> None:
    yard = karpenter
    node_pool(yard)
    pool = KarpenterDriver(yard.kube, karpenter_spec(yard, gpusPerNode=0))
    assert pool.get().maximum is None
    pool.set_bounds(0, 3)
    assert yard.kube.get(NODE_POOL, yard.name)["spec"]["limits"] == {"nodes": "3"}


def test_the_wrong_driver_for_a_node_pool_is_told(karpenter: Yard) -> None:
    yard = karpenter
    node_pool(yard, replicas=1)
    with pytest.raises(ReferenceGone, match="use driver scale"):
        KarpenterDriver(yard.kube, karpenter_spec(yard)).get()
    yard.kube.delete(NODE_POOL, yard.name)
    node_pool(yard)
    reference = PoolReference(api_version="karpenter.sh/v1", kind="NodePool", name=yard.name)
    with pytest.raises(ReferenceGone, match="use driver karpenter"):
        ScaleDriver(yard.kube, reference).get()


def test_karpenter_is_not_installed(yard: Yard) -> None:
    spec = karpenter_spec(yard)
    spec.reference.api_version = "karpenter.sh/v0"
    with pytest.raises(ReferenceGone):
        KarpenterDriver(yard.kube, spec).get()
    assert yard.kube.find(CRD, "nodepools.karpenter.sh")


def test_patience_is_bounded() -> None:
    """Pauses grow, heed the server's wish, and end."""
    pauses: list[float] = []

    def throttled() -> None:
        raise ApiError("busy", "", 429, "TooManyRequests", 3.0)

    with pytest.raises(Throttled, match="busy"):
        retry.kube_call("x", throttled, sleep=pauses.append)
    assert len(pauses) == retry.ATTEMPTS - 1
    assert all(3.0 <= p <= retry.LONGEST_PAUSE for p in pauses)


def test_patience_pays() -> None:
    answers: list[object] = [ApiError("gone", "", 0), ApiError("bad", "", 503), "well"]

    def ask() -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert retry.kube_call("x", ask, sleep=lambda _: None) == "well"
