"""Run by ``make test-cluster``; otherwise left out.

``ASTRO_TEST_CLUSTER=yes`` runs them on the cluster of ``KUBECONFIG``; ``stand-ins`` runs them on a
real control plane with stand-ins for node and KubeRay, which really run the operator and Ray.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.charts.helm import helms
from tests.charts.test_install import minor
from tests.cluster.place import CHART, Place, given
from tests.kube.plane import OwnPlane, Plane
from tests.kube.whole import WholeCluster

_HERE = Path(__file__).parent
MODE = given("ASTRO_TEST_CLUSTER", "no")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [i for i in items if _HERE in i.path.parents]
    if MODE == "no" and ours:
        config.hook.pytest_deselected(items=ours)
        items[:] = [i for i in items if i not in ours]


@pytest.fixture(scope="module")
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """The release, installed; removed at the end unless ``KEEP`` is given."""
    home = tmp_path_factory.mktemp("home")
    if MODE == "stand-ins":
        found = Place(str(request.getfixturevalue("plane").kubeconfig), home)
        whole = _stand_ins(request, found, tmp_path_factory.mktemp("cluster"))
    else:
        missing = [n for n in ("KUBECONFIG", "RAY_IMAGE", "OPERATOR_IMAGE") if not given(n)]
        if missing:
            hint = "make test-cluster RAY_IMAGE=… OPERATOR_IMAGE=…"
            pytest.fail(f"give {', '.join(missing)}: {hint}")
        found, whole = Place(given("KUBECONFIG"), home), None
    try:
        found.prepare()
        if whole is not None:
            whole.start()
        found.install()
        yield found
    finally:
        if not found.keep:
            found.clear()
        if whole is not None:
            whole.stop()


def _stand_ins(request: pytest.FixtureRequest, place: Place, folder: Path) -> WholeCluster:
    plane: Plane = request.getfixturevalue("plane")
    if not isinstance(plane, OwnPlane):
        pytest.skip("stand-ins need a control plane that knows their node")
    request.getfixturevalue("crds")
    place.ray_image, place.operator_image = "stand-in/ray:1", "stand-in/operator:1"
    place.helm = os.environ.get("HELM") or helms()[-1].path
    # One process may have the operator's ports.
    place.helm_args += ["--set", "operator.replicas=1"]
    if minor(place.kube) < 25:
        place.chart = _for_old_servers(folder / "chart")
        place.helm_args += [
            *("--disable-openapi-validation", "--set", "operator.podDisruptionBudget=false"),
            *(["--server-side=false"] if helms()[-1].version[0] > 3 else []),
        ]
    return WholeCluster(plane, place.kube, folder, place.namespace)


def _for_old_servers(folder: Path) -> Path:
    """The chart without its demand for a newer Kubernetes."""
    shutil.copytree(CHART, folder)
    chart = folder / "Chart.yaml"
    lines = chart.read_text().splitlines(keepends=True)
    chart.write_text("".join(line for line in lines if not line.startswith("kubeVersion")))
    return folder
