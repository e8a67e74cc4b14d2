"""The pools' loop against a real API server, with a stand-in for what makes machines."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import pytest

from astroctl.controller.pools import Outcome, PoolController
from astroctl.kube.client import Kube
from astroctl.kube.resources import NODE, POOL
from astroctl.pools.drivers import retry
from astroctl.pools.drivers.base import ReferenceGone
from astroctl.render.settings import Settings
from astrosage.errors import AstroError
from tests.astroctl.pools.yard import MACHINE_DEPLOYMENT, NODE_POOL, Yard, machines_crd, post
from tests.charts.rbac import install_rbac, remove_rbac
from tests.kube.faults import Call, Faults
from tests.kube.plane import Plane, Unavailable


@pytest.fixture
def yard(kube: Kube, crds: list[str], namespace: str) -> Iterator[Yard]:
    machines_crd(kube)
    made = Yard(kube, namespace)
    yield made
    made.clear()


@pytest.fixture
def controller(kube: Kube) -> PoolController:
    return PoolController(kube, Settings())


def through(faults: Faults, folder: Path) -> PoolController:
    """A controller whose requests pass the proxy."""
    path = faults.kubeconfig(folder / "faults.kubeconfig")
    return PoolController(Kube.connect(kubeconfig=str(path)), Settings())


def look(controller: PoolController, yard: Yard, now: float | None = None) -> Outcome:
    """One round."""
    outcomes = controller.tick(time.time() if now is None else now)
    return next(o for o in outcomes if o.pool == yard.name)


def test_a_gang_scales_a_pool_up_and_its_end_down(yard: Yard, controller: PoolController) -> None:
    now = time.time()
    yard.deployment()
    yard.pool(pricePerHour=10)
    look(controller, yard, now)
    assert yard.status["desired"] == 0
    assert yard.condition("Ready") == ("True", "Ready")

    pods = yard.gang(2)
    outcome = look(controller, yard, now + 5)
    assert outcome.error is None
    assert yard.replicas == 2
    assert yard.status["asked"] == 2
    assert yard.status["pendingGPUs"] == 16
    assert yard.condition("Scaling") == ("True", "ScalingUp")

    yard.move()
    for pod, node in zip(pods, yard.nodes(), strict=True):
        yard.bind(pod, node["metadata"]["name"])
    look(controller, yard, now + 65)
    status = yard.status
    assert (status["current"], status["desired"], status["ready"]) == (2, 2, 2)
    assert status["pendingGPUs"] == 0
    assert status["lastScaleSeconds"] == pytest.approx(60, abs=1.1)
    assert "asked" not in status
    assert status["pricePerHour"] == 20

    yard.end(*pods)
    look(controller, yard, now + 70)
    assert yard.replicas == 2
    look(controller, yard, now + 140)
    assert all(n["spec"].get("unschedulable") for n in yard.nodes())
    assert all("astrosage.io/cordoned-by" in n["metadata"]["annotations"] for n in yard.nodes())
    assert yard.replicas == 2
    outcome = look(controller, yard, now + 175)
    assert yard.replicas == 0, outcome
    yard.move()
    assert yard.nodes() == []
    look(controller, yard, now + 180)
    assert yard.status["current"] == 0
    # 60 s without nodes, then two nodes for 115 s at 10 USD an hour each.
    assert yard.status["spendUSD"] == pytest.approx(2 * 10 * 115 / 3600, rel=0.05)
    assert {"ScaledUp", "ScaledDown", "Cordoned"} <= yard.events()


def test_a_gang_is_served_whole_even_if_only_some_of_its_pods_are_made(
    yard: Yard, controller: PoolController
) -> None:
    yard.deployment()
    yard.pool()
    yard.gang(3, made=1)
    look(controller, yard)
    assert yard.replicas == 3


def test_a_gang_that_can_never_fit_moves_nothing(yard: Yard, controller: PoolController) -> None:
    yard.deployment()
    yard.pool(maxNodes=2)
    yard.gang(3)
    outcome = look(controller, yard)
    assert yard.replicas == 0
    assert outcome.error is None
    assert yard.kube.get(POOL, yard.name)["status"].get("pendingGPUs", 0) == 0


def test_a_gang_waits_at_the_maximum(yard: Yard, controller: PoolController) -> None:
    yard.deployment(1)
    (node,) = yard.nodes()
    yard.pool(maxNodes=2)
    yard.pod(node=node["metadata"]["name"])
    yard.gang(2)
    look(controller, yard)
    assert yard.replicas == 1
    assert yard.condition("Limited") == ("True", "AtMaximum")
    assert yard.status["pendingGPUs"] == 16


def test_pods_of_others_count_one_by_one(yard: Yard, controller: PoolController) -> None:
    yard.deployment()
    yard.pool(maxNodes=2)
    for _ in range(3):
        yard.pod()
    look(controller, yard)
    assert yard.replicas == 2


def test_money_limits_growth(yard: Yard, controller: PoolController) -> None:
    yard.deployment()
    yard.pool(pricePerHour=10, budget={"perHour": 15})
    for _ in range(2):
        yard.pod()
    look(controller, yard)
    assert yard.replicas == 1
    assert yard.condition("Limited") == ("True", "OverBudget")


def test_a_paused_pool_is_left_alone(yard: Yard, controller: PoolController) -> None:
    yard.deployment()
    yard.pool(paused=True)
    yard.pod()
    look(controller, yard)
    assert yard.replicas == 0
    assert yard.condition("Ready") == ("True", "Paused")
    assert yard.status["pendingGPUs"] == 8


def test_a_pool_that_fails_keeps_no_other_waiting(yard: Yard, controller: PoolController) -> None:
    other = Yard(yard.kube, yard.namespace)
    try:
        yard.pool()
        other.deployment()
        other.pool()
        yard.pod()
        other.pod()
        now = time.time()
        outcomes = {o.pool: o for o in controller.tick(now)}
        assert isinstance(outcomes[yard.name].error, ReferenceGone)
        assert other.replicas == 1
        assert yard.condition("Ready") == ("False", "ReferenceNotFound")
        assert "ReferenceNotFound" in yard.events()
        # It is not asked in every round; when it is there again, all is well.
        yard.deployment()
        look(controller, yard, now + 1)
        assert yard.condition("Ready") == ("False", "ReferenceNotFound")
        look(controller, yard, now + 20)
        assert yard.condition("Ready") == ("True", "Ready")
        assert yard.replicas == 1
        assert "Recovered" in yard.events()
    finally:
        other.clear()


def test_two_pools_on_one_mechanism_are_told(yard: Yard, controller: PoolController) -> None:
    yard.deployment()
    yard.pool()
    twin = Yard(yard.kube, yard.namespace, name=f"{yard.name}-twin")
    try:
        reference = yard.kube.get(POOL, yard.name)["spec"]["reference"]
        twin.pool(reference=reference)
        look(controller, yard)
        assert yard.condition("Ready") == ("True", "Ready")
        assert twin.condition("Ready") == ("False", "Conflict")
    finally:
        twin.clear()


MIN_SIZE = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-min-size"
MAX_SIZE = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-max-size"


def test_another_autoscaler_gets_leave_for_whole_gangs_only(
    yard: Yard, controller: PoolController
) -> None:
    def limits() -> tuple[str, str]:
        found = yard.kube.get(MACHINE_DEPLOYMENT, yard.name, yard.namespace)["metadata"]
        return found["annotations"][MIN_SIZE], found["annotations"][MAX_SIZE]

    now = time.time()
    yard.deployment(0, **{MIN_SIZE: "0", MAX_SIZE: "4"})
    yard.pool(maxNodes=3)
    look(controller, yard, now)
    assert limits() == ("0", "0")
    assert yard.condition("Ready") == ("True", "OwnedElsewhere")
    pods = yard.gang(2)
    yard.gang(2, job="second")
    look(controller, yard, now + 5)
    assert limits() == ("0", "2")
    assert yard.replicas == 0
    # The cluster-autoscaler does its work, node by node.
    for size in (1, 2):
        body = {"spec": {"replicas": size}}
        yard.kube.patch(MACHINE_DEPLOYMENT, yard.name, body, yard.namespace)
        yard.move()
        look(controller, yard, now + 60 * size)
        assert limits() == ("0", "2")
    assert "asked" not in yard.status
    assert yard.status["lastScaleSeconds"] == pytest.approx(115, abs=1.1)
    for pod, node in zip(pods, yard.nodes(), strict=True):
        yard.bind(pod, node["metadata"]["name"])
    look(controller, yard, now + 130)
    assert limits() == ("0", "2")
    assert not any(n["spec"].get("unschedulable") for n in yard.nodes())


def test_the_fallback_serves_where_the_pool_does_not_deliver(
    yard: Yard, controller: PoolController
) -> None:
    now = time.time()
    fallback = Yard(yard.kube, yard.namespace)
    try:
        fallback.deployment()
        fallback.pool()
        yard.deployment()
        yard.pool(spot=True, fallback=fallback.name)
        terms = [
            {"matchExpressions": [{"key": "astrosage.io/pool", "operator": "In", "values": [n]}]}
            for n in (yard.name, fallback.name)
        ]
        yard.gang(2, affinity=terms)
        look(controller, yard, now)
        assert (yard.replicas, fallback.replicas) == (2, 0)
        for later in (5, 100):
            look(controller, yard, now + later)
            assert (yard.replicas, fallback.replicas) == (2, 0)
        look(controller, yard, now + 200)
        assert fallback.replicas == 2
        assert yard.condition("Limited")[0] == "True"
        look(controller, yard, now + 210)
        assert yard.replicas == 0, "what nobody waits for any more is withdrawn"
    finally:
        fallback.clear()


def test_a_pod_that_comes_in_the_last_moment_keeps_its_node(
    yard: Yard, faults: Faults, tmp_path: Path
) -> None:
    """Bound after the round has looked, before it removes."""
    now = time.time()
    yard.deployment(1)
    yard.pool(idleSeconds=0)
    controller = through(faults, tmp_path)
    (node,) = yard.nodes()
    look(controller, yard, now)
    assert yard.nodes()[0]["spec"].get("unschedulable")
    done: list[str] = []

    def late(call: Call) -> None:
        if "status.phase=Pending" in unquote(call.path) and not done:
            done.append(yard.pod(node=node["metadata"]["name"]))

    faults.after = late
    look(controller, yard, now + 40)
    assert done
    assert yard.replicas == 1
    faults.after = lambda call: None
    look(controller, yard, now + 45)
    assert not yard.nodes()[0]["spec"].get("unschedulable"), "it is opened again"


def test_the_cordon_of_someone_else_is_theirs(yard: Yard, controller: PoolController) -> None:
    now = time.time()
    yard.deployment(1)
    yard.pool(idleSeconds=0)
    name = yard.nodes()[0]["metadata"]["name"]
    yard.kube.patch(NODE, name, {"spec": {"unschedulable": True}})
    for later in (0, 40, 80):
        look(controller, yard, now + later)
    assert yard.replicas == 1
    marks = yard.nodes()[0]["metadata"]["annotations"]
    assert "astrosage.io/cordoned-by" not in marks


def test_a_new_operator_goes_on_counting(yard: Yard, kube: Kube) -> None:
    now = time.time()
    yard.deployment(1)
    yard.pool(pricePerHour=36)
    for later in range(0, 60, 20):
        look(PoolController(kube, Settings()), yard, now + later)
    assert not yard.nodes()[0]["spec"].get("unschedulable")
    look(PoolController(kube, Settings()), yard, now + 61)
    assert yard.nodes()[0]["spec"].get("unschedulable")
    look(PoolController(kube, Settings()), yard, now + 100)
    assert yard.replicas == 0
    assert yard.status["spendUSD"] == pytest.approx(1.0, abs=0.05)


def test_a_round_without_news_writes_nothing(yard: Yard, faults: Faults, tmp_path: Path) -> None:
    controller = through(faults, tmp_path)
    now = time.time()
    yard.deployment()
    yard.pool(pricePerHour=10)
    yard.gang(2)
    for later in (0, 5):
        look(controller, yard, now + later)
    faults.clear()
    look(controller, yard, now + 10)
    assert [c for c in faults.calls if c.is_write] == []


def test_reads_do_not_grow_with_nodes_and_pods(yard: Yard, faults: Faults, tmp_path: Path) -> None:
    controller = through(faults, tmp_path)
    now = time.time()
    yard.deployment(1)
    yard.pool(maxNodes=8)
    counts = []
    for size in (1, 6):
        yard.kube.patch(MACHINE_DEPLOYMENT, yard.name, {"spec": {"replicas": size}}, yard.namespace)
        yard.move()
        for node in yard.nodes():
            yard.pod(1, node=node["metadata"]["name"])
        look(controller, yard, now)
        faults.clear()
        look(controller, yard, now + 5)
        counts.append(len([c for c in faults.calls if not c.is_write]))
    assert counts[0] == counts[1] <= 8


def test_two_operators_ask_once(yard: Yard, kube: Kube) -> None:
    now = time.time()
    yard.deployment()
    yard.pool()
    yard.gang(2)
    both = [PoolController(kube, Settings()) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda c: c.tick(now), both))
    for one in both:
        one.tick(now + 5)
    assert yard.replicas == 2
    assert yard.condition("Ready") == ("True", "Ready")


def test_a_pool_deleted_meanwhile_is_no_error(yard: Yard, faults: Faults, tmp_path: Path) -> None:
    controller = through(faults, tmp_path)
    yard.deployment()
    yard.pool()

    def gone(call: Call) -> None:
        if "status.phase=Pending" in unquote(call.path):
            yard.kube.delete(POOL, yard.name)

    faults.after = gone
    assert look(controller, yard).error is None


@pytest.mark.parametrize("status", [409, 429, 500])
def test_an_api_server_that_stumbles(
    yard: Yard, faults: Faults, tmp_path: Path, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.01)
    controller = through(faults, tmp_path)
    yard.deployment()
    yard.pool()
    yard.gang(2)
    faults.add(status=status, method="PATCH|PUT|POST", count=3)
    now = time.time()
    for later in (0, 20, 60):
        with contextlib.suppress(AstroError):
            look(controller, yard, now + later)
    assert yard.replicas == 2
    assert yard.condition("Ready") == ("True", "Ready")
    assert yard.status["desired"] == 2


def act(controller: PoolController, now: float) -> bool:
    """One round; tells whether it came to its end."""
    try:
        outcomes = controller.tick(now)
    except AstroError:
        return False
    return all(o.error is None for o in outcomes)


def test_an_operator_that_dies_anywhere_leaves_nothing_half_done(
    yard: Yard, kube: Kube, faults: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its n-th request on, an operator reaches nobody; another takes over. For every n."""
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.001)
    now = time.time()
    yard.deployment()
    yard.pool(idleSeconds=0, bootSeconds=30)
    for turn in range(100):
        now += 1000
        pods = yard.gang(2, job=f"job{turn}")
        complete = True
        for later in (0, 10, 60, 110):
            faults.rules.clear()
            faults.add(skip=turn, cut="before")
            complete &= act(through(faults, tmp_path), now + later)
            faults.rules.clear()
            assert act(PoolController(kube, Settings()), now + later + 5)
            if later == 0:
                assert yard.replicas == 2, f"after {turn} requests"
                yard.move()
                for pod, node in zip(pods, yard.nodes(), strict=True):
                    yard.bind(pod, node["metadata"]["name"])
            if later == 10:
                assert yard.replicas == 2
                yard.end(*pods)
        assert act(PoolController(kube, Settings()), now + 200)
        assert yard.replicas == 0, f"after {turn} requests"
        yard.move()
        assert yard.nodes() == []
        if complete:
            break
    assert turn > 10, "a round has more requests than that"


def test_karpenter_gets_leave_for_whole_gangs_only(yard: Yard, controller: PoolController) -> None:
    ref = {"group": "x.io", "kind": "X", "name": "x"}
    template = {"spec": {"nodeClassRef": ref, "requirements": []}}
    post(yard.kube, NODE_POOL, {"metadata": {"name": yard.name}, "spec": {"template": template}})
    try:
        yard.pool(driver="karpenter", reference={"name": yard.name})

        def limits() -> dict[str, str]:
            return dict(yard.kube.get(NODE_POOL, yard.name)["spec"]["limits"])

        now = time.time()
        look(controller, yard, now)
        assert limits() == {"nvidia.com/gpu": "0"}
        yard.gang(3)
        yard.gang(2, job="second")
        look(controller, yard, now + 5)
        assert limits() == {"nvidia.com/gpu": "24"}
        assert yard.status["desired"] == 3
        assert yard.condition("Ready") == ("True", "OwnedElsewhere")
        # Nothing comes: what Karpenter is not able to do in time is told.
        for later in (10, 200):
            look(controller, yard, now + later)
        assert yard.condition("Limited")[0] == "True"
    finally:
        yard.kube.delete(NODE_POOL, yard.name)


def test_the_rights_of_the_chart_are_enough(
    plane: Plane, yard: Yard, kube: Kube, namespace: str, tmp_path: Path
) -> None:
    try:
        path = install_rbac(kube, plane, namespace, tmp_path, values={"pools": {"enabled": True}})
    except Unavailable as error:
        pytest.skip(str(error))
    try:
        controller = PoolController(Kube.connect(kubeconfig=str(path)), Settings())
        now = time.time()
        yard.deployment()
        yard.pool(idleSeconds=0, budget={"perJob": 100}, pricePerHour=1)
        pods = yard.gang(1)
        for later in (0, 5):
            assert look(controller, yard, now + later).error is None
        assert yard.replicas == 1
        yard.move()
        yard.bind(pods[0], yard.nodes()[0]["metadata"]["name"])
        assert look(controller, yard, now + 10).error is None
        yard.end(*pods)
        for later in (20, 60):
            assert look(controller, yard, now + later).error is None
        assert yard.replicas == 0
        assert {"ScaledUp", "Cordoned", "ScaledDown"} <= yard.events()
    finally:
        remove_rbac(kube, namespace)
