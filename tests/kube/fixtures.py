"""Fixtures of the API ring: a real control plane, an empty namespace, users with given rights.

A test that uses :func:`plane`, directly or not, has the marker ``api`` of itself.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.kube.plane import OwnPlane, Plane, Unavailable, binaries

if TYPE_CHECKING:
    from astroctl.kube.client import Kube
    from tests.kube.faults import Faults
    from tests.kube.kubelet import Kubelet
    from tests.kube.kuberay import KubeRay
    from tests.kube.whole import WholeCluster

_STARTED = pytest.StashKey[Path]()
UserMaker = Callable[..., Path]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "plane" in getattr(item, "fixturenames", ()):
            item.add_marker("api")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    failed = any(terminalreporter.stats.get(kind) for kind in ("failed", "error"))
    if failed and _STARTED in config.stash:
        terminalreporter.write_line(f"control plane logs: {config.stash[_STARTED]}")


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Plane]:
    """A control plane for the whole session; stopped or frozen, it is to be brought back."""
    folder = tmp_path_factory.mktemp("plane")
    if existing := os.environ.get("ASTRO_TEST_KUBECONFIG"):
        yield Plane(Path(existing), folder)
        return
    try:
        own = OwnPlane(folder, binaries())
        own.start()
    except Unavailable as error:
        pytest.skip(str(error))
    pytestconfig.stash[_STARTED] = own.logs
    yield own
    own.stop()


@pytest.fixture
def own_plane(plane: Plane) -> OwnPlane:
    """The control plane, for a test that stops or freezes it."""
    if not isinstance(plane, OwnPlane):
        pytest.skip("the cluster of ASTRO_TEST_KUBECONFIG cannot be stopped and restarted")
    return plane


@pytest.fixture(scope="session")
def kube(plane: Plane) -> Kube:
    """The administrator's client."""
    from astroctl.kube.client import Kube

    return Kube.connect(kubeconfig=str(plane.kubeconfig))


@pytest.fixture
def kubeconfig(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The administrator's kubeconfig, which ``KUBECONFIG`` names too during the test."""
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig))
    return plane.kubeconfig


@pytest.fixture
def namespace(plane: Plane, kube: Kube) -> Iterator[str]:
    """A namespace of the test's own, with its default service account."""
    from tests.kube import objects

    name = f"test-{uuid.uuid4().hex[:8]}"
    objects.make_namespace(kube, name, wait=plane.has_controllers)
    yield name
    objects.remove_namespace(kube, name)


@pytest.fixture(scope="session")
def crds(kube: Kube) -> list[str]:
    """Names of the custom resources, all loaded: ours, KubeRay's, Kueue's and those of pools."""
    from tests.kube import definitions

    try:
        return definitions.load(kube)
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def user(plane: Plane, kube: Kube, namespace: str, tmp_path: Path) -> UserMaker:
    """``user(name, rules, cluster_rules=…)``: a service account with these rights; its kubeconfig.

    Rules are RBAC's: ``{"apiGroups": […], "resources": […], "verbs": […]}``; ``rules`` hold in the
    test's namespace, ``cluster_rules`` everywhere.
    """
    from tests.kube import objects

    def make(
        name: str = "user",
        rules: list[dict[str, Any]] | None = None,
        cluster_rules: list[dict[str, Any]] | None = None,
    ) -> Path:
        objects.make_account(kube, namespace, name, rules or [], cluster_rules or [])
        token = objects.token(kube, namespace, name)
        return plane.kubeconfig_for(tmp_path / f"{name}.kubeconfig", token, namespace)

    return make


@pytest.fixture
def kubelet(own_plane: OwnPlane, kube: Kube, namespace: str, tmp_path: Path) -> Iterator[Kubelet]:
    """A node that runs the pods of the test's namespace as local processes."""
    from tests.kube.kubelet import Kubelet

    node = Kubelet(own_plane, kube, tmp_path / "kubelet", namespace, f"node-{namespace}")
    node.start()
    yield node
    node.stop()


@pytest.fixture
def kuberay(kube: Kube, namespace: str, crds: list[str]) -> Iterator[KubeRay]:
    """A stand-in for the KubeRay operator in the test's namespace; its jobs follow scripts."""
    from tests.kube.kuberay import KubeRay

    operator = KubeRay(kube, namespace).start()
    yield operator
    operator.stop()


@pytest.fixture
def faults(own_plane: OwnPlane) -> Iterator[Faults]:
    """A proxy before the API server that injects faults and counts requests."""
    from tests.kube.faults import Faults

    proxy = Faults(own_plane)
    proxy.start()
    yield proxy
    proxy.stop()


@pytest.fixture
def whole_cluster(
    own_plane: OwnPlane, kube: Kube, namespace: str, crds: list[str], tmp_path: Path
) -> Iterator[WholeCluster]:
    """The test's namespace as if on a cluster: pods run, RayJobs and RayServices are real."""
    from tests.kube.whole import WholeCluster

    cluster = WholeCluster(own_plane, kube, tmp_path / "cluster", namespace).start()
    yield cluster
    cluster.stop()
