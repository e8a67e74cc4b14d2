from __future__ import annotations

import os
import signal
import time
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


_BEGAN = time.monotonic()
_MINUTES = float(os.environ.get("ASTRO_TEST_MINUTES") or "inf")


@pytest.hookimpl(trylast=True)  # once all marks are given
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast ones first: what is broken is told early, and time runs out on the slowest only.

    Those are the faults of a training: many, and much alike.
    """

    def slowness(item: pytest.Item) -> tuple[bool, ...]:
        rings = [item.get_closest_marker(ring) is not None for ring in ("e2e", "api")]
        return (item.path.parts[-2:] == ("e2e", "test_faults.py"), *rings)

    items.sort(key=slowness)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what takes longest once ``ASTRO_TEST_MINUTES`` are over: better some than none."""
    if item.get_closest_marker("e2e") and time.monotonic() - _BEGAN > 60 * _MINUTES:
        pytest.skip(f"a slow machine: the {_MINUTES:g} minutes of ASTRO_TEST_MINUTES are over")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama directory; do not write into it."""
    return tiny.make_model(tmp_path_factory.mktemp("tiny") / "model")
