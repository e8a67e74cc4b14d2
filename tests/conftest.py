from __future__ import annotations

import signal
from pathlib import Path

import hypothesis
import pytest

from tests import tiny

pytest_plugins = ["tests.kube.fixtures"]


# How long an example takes says more of the machine's other work than of the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# A shell that starts tests in the background makes them, and all that they start, deaf to Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama directory; do not write into it."""
    return tiny.make_model(tmp_path_factory.mktemp("tiny") / "model")
