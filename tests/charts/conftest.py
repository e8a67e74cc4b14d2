from __future__ import annotations

import pytest

from tests.charts.helm import Helm, helms

_MISSING = "no helm: set ASTRO_TEST_HELM, or have it on the PATH"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``helm`` is each of those that are there."""
    if "helm" in metafunc.fixturenames:
        found: list[object] = list(helms())
        if not found:
            found = [pytest.param(None, marks=pytest.mark.skip(reason=_MISSING))]
        metafunc.parametrize("helm", found, ids=repr, scope="session")


@pytest.fixture(scope="session")
def new_helm() -> Helm:
    """The newest."""
    if not helms():
        pytest.skip(_MISSING)
    return helms()[-1]
