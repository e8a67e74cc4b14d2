from __future__ import annotations

from pathlib import Path

import pytest

from tests import tiny

pytest_plugins = ["tests.kube.fixtures"]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama directory; do not write into it."""
    return tiny.make_model(tmp_path_factory.mktemp("tiny") / "model")
