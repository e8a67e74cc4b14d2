from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from astroctl.controller.idlers import Idlers
from astroctl.kube.client import Kube
from astroctl.kube.resources import POD
from astroctl.kube.times import timestamp
from astroctl.render.settings import Settings
from tests.astroctl.controller.world import World


@pytest.fixture
def world(kube: Kube, namespace: str, crds: Any) -> Iterator[World]:
    made = World(kube, namespace, Settings(watch_namespaces=[namespace]))
    yield made
    # On a node that has no kubelet nobody else would; their GPUs would count for others.
    for pod in kube.list(POD, namespace):
        path = POD.path(namespace, pod["metadata"]["name"])
        kube.request("DELETE", path, {"gracePeriodSeconds": 0})


def gpu_pod(world: World, rayjob: str) -> None:
    name = f"{rayjob}-worker"
    world.kube.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": world.namespace,
                "labels": {
                    "astrosage.io/job": "one",
                    "ray.io/cluster": f"{rayjob}-abcde",
                    "ray.io/node-type": "worker",
                },
            },
            "spec": {
                "nodeName": "somewhere",
                "containers": [
                    {
                        "name": "ray",
                        "image": "ray",
                        "resources": {"limits": {"nvidia.com/gpu": "8"}},
                    }
                ],
            },
        }
    )
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    world.kube.patch(POD, name, {"status": status}, world.namespace, subresource="status")


def test_gpus_held_after_the_end_are_told_of_once_and_freed(world: World) -> None:
    world.submit()
    world.look()
    world.kuberay("one-0-1", "Complete", "SUCCEEDED", endTime=timestamp(world.now))
    gpu_pod(world, "one-0-1")
    world.look(seconds=10)
    idlers = Idlers(world.kube, world.store, world.settings, lambda: world.now)
    assert idlers.tick() == []
    world.now += 3600
    told = idlers.tick()
    assert [(t.gpus, t.reap) for _, t in told] == [(8, "one-0-1")]
    assert world.names() == []
    idlers.tick()
    reasons = [r for r, _ in world.events() if r == told[0][1].reason]
    assert len(reasons) == 1


def test_one_list_of_pods_whatever_the_number_of_jobs(world: World) -> None:
    for name in ("one", "two", "three"):
        world.submit(name_of(world, name))
        world.look(name)
    idlers = Idlers(world.kube, world.store, world.settings, lambda: world.now)
    with world.counting() as made:
        idlers.tick()
    assert len(made) == 1


def name_of(world: World, name: str) -> dict[str, Any]:
    from tests.astroctl.controller.world import job

    return job(world.namespace, name)
