"""The pools' loop against a real API server, with a stand-in for what makes machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from astroctl.controller.pools import PoolController
from astroctl.kube.client import Kube
from astroctl.kube.resources import EVENT, NODE
from astroctl.render.settings import Settings
from tests.astroctl.pools.yard import Yard, machines_crd

Ticker = Callable[[float], None]


@pytest.fixture
def yard(kube: Kube, crds: list[str], namespace: str) -> Iterator[Yard]:
    machines_crd(kube)
    made = Yard(kube, namespace)
    yield made
    made.clear()


@pytest.fixture
def controller(kube: Kube) -> PoolController:
    return PoolController(kube, Settings())


def mine(controller: PoolController, yard: Yard, now: float):
    return next(o for o in controller.tick(now) if o.pool == yard.name)


def test_a_gang_scales_a_pool_up_and_its_end_down(yard: Yard, controller: PoolController):
    now = time.time()
    yard.deployment()
    yard.pool(pricePerHour=10)
    mine(controller, yard, now)
    assert yard.status["desired"] == 0
    assert yard.condition("Ready") == ("True", "Ready")

    pods = yard.gang(2)
    outcome = mine(controller, yard, now + 5)
    assert outcome.error is None
    assert yard.replicas == 2
    assert yard.status["asked"] == 2
    assert yard.status["pendingGPUs"] == 16
    assert yard.condition("Scaling") == ("True", "ScalingUp")

    yard.move()
    for pod, node in zip(pods, yard.nodes(), strict=True):
        yard.bind(pod, node["metadata"]["name"])
    mine(controller, yard, now + 65)
    status = yard.status
    assert (status["current"], status["desired"], status["ready"]) == (2, 2, 2)
    assert status["pendingGPUs"] == 0
    assert status["lastScaleSeconds"] == pytest.approx(60, abs=1.1)
    assert "asked" not in status
    assert status["pricePerHour"] == 20

    yard.end(*pods)
    mine(controller, yard, now + 70)
    assert yard.replicas == 2
    mine(controller, yard, now + 140)
    assert all(n["spec"].get("unschedulable") for n in yard.nodes())
    assert all("astrosage.io/cordoned-by" in n["metadata"]["annotations"] for n in yard.nodes())
    assert yard.replicas == 2
    outcome = mine(controller, yard, now + 175)
    assert yard.replicas == 0, outcome
    yard.move()
    assert yard.nodes() == []
    mine(controller, yard, now + 180)
    assert yard.status["current"] == 0
    # 60 s without nodes, then two nodes for 115 s at 10 USD an hour each.
    assert yard.status["spendUSD"] == pytest.approx(2 * 10 * 115 / 3600, rel=0.05)
    reasons = {
        e["reason"]
        for e in yard.kube.list(EVENT, "default")
        if e["involvedObject"]["name"] == yard.name
    }
    assert {"ScaledUp", "ScaledDown", "Cordoned"} <= reasons
