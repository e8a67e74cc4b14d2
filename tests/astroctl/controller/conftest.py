from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from astroctl.kube.client import Kube
from tests.astroctl.controller.operators import Field, Maker, Operator


@pytest.fixture
def field(kube: Kube, namespace: str) -> Field:
    return Field(kube, namespace)


@pytest.fixture
def operator(namespace: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Maker]:
    """``operator(identity, kubeconfig=…, **settings)``: a real operator process, started."""
    running: list[Operator] = []

    def start(identity: str = "one", kubeconfig: Path | None = None, **settings: Any) -> Operator:
        path = kubeconfig or request.getfixturevalue("plane").kubeconfig
        made = Operator(path, namespace, tmp_path / identity, identity, **settings)
        made.start()
        running.append(made)
        return made

    yield start
    for each in running:
        each.stop(2)
