"""What goes wrong around an operator: it is killed anywhere, and the API server misbehaves."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from astroctl.kube.client import Kube
from tests.astroctl.controller.operators import Field, Maker, Operator, changes_jobs, made
from tests.astroctl.controller.test_life import FOREVER, two_groups
from tests.astroctl.controller.world import job
from tests.kube.faults import Call, Faults
from tests.kube.heads import Script
from tests.kube.kuberay import KubeRay
from tests.kube.objects import eventually
from tests.kube.plane import OwnPlane

_MOST_LIVES, _REPEATS = 60, 3
WRITES = "POST|PUT|PATCH|DELETE"
OURS = "/(astrojobs|rayjobs|secrets)"


@pytest.fixture
def through(faults: Faults, tmp_path: Path) -> Path:
    """The administrator's kubeconfig through the proxy that injects faults."""
    return faults.kubeconfig(tmp_path / "faults.kubeconfig")


def supervise(operator: Operator, field: Field, phase: str, seconds: float = 120) -> int:
    """Start the operator again whenever it ends, as a Deployment does, until a job is in a phase.

    Returns:
        How often it was started again.
    """
    deadline, starts = time.monotonic() + seconds, 0
    while not _reached(field, phase):
        assert time.monotonic() < deadline, f"{field.status()}\n{operator.said()}"
        if not operator.lives:
            operator.start()
            starts += 1
            assert starts < _MOST_LIVES, operator.said()
        time.sleep(0.1)
    return starts


def _reached(field: Field, phase: str) -> bool:
    from astrosage.errors import AstroError

    try:
        return bool(field.status().get("phase") == phase)
    except AstroError:
        return False  # the API server is away


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_operator_killed_at_every_change_loses_and_doubles_nothing(
    kube: Kube,
    namespace: str,
    kuberay: KubeRay,
    field: Field,
    operator: Maker,
    faults: Faults,
    through: Path,
    moment: str,
) -> None:
    """Killed when a change is about to be asked for, or when it was made but not yet told.

    The same request may kill it a few times only: a life that is to get further must survive one.
    """
    kuberay.script = Script(seconds=0.2)
    kube.create(two_groups(namespace))
    one = operator(kubeconfig=through)
    deaths: Counter[str] = Counter()

    def die(call: Call) -> None:
        path = call.path.partition("?")[0]
        if changes_jobs(call) and one.lives and deaths[f"{call.method} {path}"] < _REPEATS:
            deaths[f"{call.method} {path}"] += 1
            one.kill()
            if moment == "before":
                faults.add(re.escape(call.path), method=call.method, cut="before", count=1)

    setattr(faults, moment, die)
    try:
        supervise(one, field, "Succeeded", 300)
    except AssertionError as error:
        raise AssertionError(str(deaths)) from error
    assert deaths.total() > 4, deaths
    assert kuberay.scripted.submitted == ["one-0-1", "one-1-1"], deaths
    assert field.rayjobs() == ["one-0-1", "one-1-1"]
    assert made(faults).total() == 2, deaths
    assert made(faults, "secrets").total() == 1


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param([{"path": OURS, "method": WRITES, "status": 409, "count": 5}], id="409"),
        pytest.param([{"path": "watch=true", "status": 410, "count": 4}], id="410"),
        pytest.param([{"path": OURS, "status": 429, "retry_after": 1, "count": 5}], id="429"),
        pytest.param([{"path": OURS, "status": 500, "count": 5}], id="500"),
        pytest.param([{"path": OURS, "status": 503, "count": 5}], id="503"),
        pytest.param(
            [{"path": "/rayjobs", "method": "GET", "status": 500, "count": 4}], id="blind"
        ),
        pytest.param([{"delay": 0.3}], id="slow"),
        pytest.param([{"path": OURS, "cut": "before", "count": 5}], id="cut"),
        pytest.param([{"path": OURS, "method": WRITES, "cut": "after", "count": 5}], id="lost"),
        pytest.param([{"path": "watch=true", "cut": "middle", "count": 4}], id="watch"),
    ],
)
def test_faults_of_the_api_server_pass(
    kube: Kube,
    namespace: str,
    kuberay: KubeRay,
    field: Field,
    operator: Maker,
    faults: Faults,
    through: Path,
    rules: list[dict[str, Any]],
) -> None:
    kuberay.script = Script(seconds=1)
    added = [faults.add(**rule) for rule in rules]
    one = operator(kubeconfig=through)
    kube.create(job(namespace))
    supervise(one, field, "Succeeded")
    assert all(rule.hits for rule in added)
    assert kuberay.scripted.submitted == ["one-0-1"]
    assert field.rayjobs() == ["one-0-1"]


@pytest.mark.parametrize("pause", [0.0, 25.0], ids=["restarted", "gone"])
def test_an_api_server_that_goes_and_comes_back(
    own_plane: OwnPlane,
    kube: Kube,
    namespace: str,
    kuberay: KubeRay,
    field: Field,
    operator: Maker,
    pause: float,
) -> None:
    """Away for longer than a lease lasts, the leader steps down, and leads again afterwards."""
    kuberay.script = Script(seconds=FOREVER)
    one = operator()
    kube.create(job(namespace))
    field.until("Running")
    own_plane.restart(pause)
    kube.create(job(namespace, "later"))
    kuberay.script = Script(seconds=0)
    field.patch(spec={"suspend": True})
    supervise(one, field, "Suspended")
    eventually(lambda: field.status("later").get("phase") in ("Running", "Succeeded"), 60)
    assert sorted(set(kuberay.scripted.submitted)) == ["later-0-1", "one-0-1"]
    assert field.rayjobs()[0] == "later-0-1"


def test_a_frozen_api_server_hangs_nothing(
    own_plane: OwnPlane,
    kube: Kube,
    namespace: str,
    kuberay: KubeRay,
    field: Field,
    operator: Maker,
) -> None:
    one = operator()
    kube.create(job(namespace))
    field.until("Running")
    with own_plane.frozen():
        time.sleep(12)
        health = one.page("/healthz")
        assert not one.lives or "ok" in health
    supervise(one, field, "Succeeded")
    assert kuberay.scripted.submitted == ["one-0-1"]
