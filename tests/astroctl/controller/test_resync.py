from __future__ import annotations

from typing import Any

import pytest

from astroctl.controller.operator import Operator
from astroctl.kube.client import Kube
from astroctl.kube.resources import ASTROJOB, RAYJOB
from astroctl.render.settings import Settings
from tests.astroctl.controller.world import World


@pytest.fixture
def world(kube: Kube, namespace: str, crds: Any) -> World:
    return World(kube, namespace)


def test_what_no_watch_told_is_found(kube: Kube, namespace: str, world: World) -> None:
    operator = Operator(kube, Settings(watch_namespaces=[namespace]), namespace, identity="one")
    world.submit()
    world.look()
    assert operator.resync() == 2, "the job and its RayJob"
    assert operator.resync() == 0
    uid, key = world.uid(), (namespace, "one")
    assert [r["metadata"]["name"] for r in operator.store.rayjobs(key, uid)] == ["one-0-1"]
    world.run("one-0-1")
    assert operator.resync() == 1
    kube.patch(ASTROJOB, "one", {"metadata": {"finalizers": None}}, namespace)
    kube.delete(RAYJOB, "one-0-1", namespace)
    kube.delete(ASTROJOB, "one", namespace)
    assert operator.resync() == 1
    assert operator.store.job(key) is None
