"""``status --watch`` and ``--follow`` go on whatever happens to the API server."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from astroctl.kube.client import Kube
from astroctl.kube.resources import ASTROJOB, SERVICE_ACCOUNT
from tests.astroctl.kubernetes.conftest import Cli, StandIn, plain
from tests.kube import objects
from tests.kube.faults import Faults
from tests.kube.fixtures import UserMaker
from tests.kube.plane import OwnPlane

RULES = [
    {"apiGroups": ["astrosage.io"], "resources": ["astrojobs"], "verbs": ["get", "list", "watch"]}
]


class Watching:
    """``astroctl status --watch`` as a process."""

    def __init__(self, kubeconfig: Path, log: Path, **environment: str) -> None:
        import os

        self.log = log
        command = [sys.executable, "-m", "astroctl", "status", "small", "--watch"]
        command += ["--kubeconfig", str(kubeconfig)]
        with log.open("w") as file:
            self.process = subprocess.Popen(
                command, stdout=file, stderr=file, env={**os.environ, **environment}
            )

    def until(self, text: str, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def ended(self, seconds: float = 60.0) -> int:
        try:
            return self.process.wait(seconds)
        finally:
            self.process.kill()


@pytest.fixture
def watching(cli: Cli, tmp_path: Path) -> Callable[[Path], Watching]:
    return lambda kubeconfig: Watching(kubeconfig, tmp_path / "watch.log")


def progress(stage: str, step: int) -> dict[str, Any]:
    stages = [{"name": "corpus", "phase": "running"}, {"name": "cpt", "phase": "pending"}]
    return {"stages": stages, "progress": {"stage": stage, "step": step, "total": 9, "unit": "x"}}


def test_a_watch_survives_a_restart_of_the_api_server(
    own_plane: OwnPlane,
    stand_in: StandIn,
    kubeconfig: Path,
    watching: Callable[[Path], Watching],
) -> None:
    stand_in.create(plain("small"))
    stand_in.tell("small", "Running", **progress("corpus", 1))
    found = watching(kubeconfig)
    found.until("[1/2] corpus")
    own_plane.restart(pause=3.0)
    found.until("trying again")
    stand_in.tell("small", "Running", **progress("cpt", 2))
    found.until("[2/2] cpt")
    stand_in.tell("small", "Succeeded", **progress("cpt", 9))
    assert found.ended() == 0
    assert ": succeeded" in found.log.read_text()


def test_a_watch_survives_an_expired_token_once_there_is_a_new_one(
    plane: Any,
    kube: Kube,
    namespace: str,
    stand_in: StandIn,
    user: UserMaker,
    watching: Callable[[Path], Watching],
) -> None:
    mine = user("watcher", RULES)
    stand_in.create(plain("small"))
    stand_in.tell("small", "Running", **progress("corpus", 1))
    found = watching(mine)
    found.until("[1/2] corpus")
    # A token dies with its account; the new one has other tokens.
    kube.delete(SERVICE_ACCOUNT, "watcher", namespace)
    objects.make_account(kube, namespace, "watcher", [])
    plane.kubeconfig_for(mine, objects.token(kube, namespace, "watcher"), namespace)
    stand_in.tell("small", "Succeeded", **progress("cpt", 9))
    assert found.ended() == 0


def test_a_watch_ends_with_the_job(
    kube: Kube,
    namespace: str,
    stand_in: StandIn,
    kubeconfig: Path,
    watching: Callable[[Path], Watching],
) -> None:
    stand_in.create(plain("small"))
    stand_in.tell("small", "Running", **progress("corpus", 1))
    found = watching(kubeconfig)
    found.until("[1/2] corpus")
    kube.delete(ASTROJOB, "small", namespace)
    assert found.ended() == 130
    assert "was deleted" in found.log.read_text()
    assert f"s3://bucket/runs/{namespace}/small" in found.log.read_text()


def test_a_failed_job_ends_the_watch_with_its_familys_code(
    stand_in: StandIn, kubeconfig: Path, watching: Callable[[Path], Watching]
) -> None:
    stand_in.create(plain("small"))
    stand_in.tell("small", "Running", **progress("corpus", 1))
    found = watching(kubeconfig)
    found.until("[1/2] corpus")
    error = {"type": "TrainingError", "message": "the loss is NaN", "hint": "lower learningRate"}
    stand_in.tell("small", "Failed", error=error)
    assert found.ended() == 7
    assert "error: the loss is NaN" in found.log.read_text()


def test_a_watch_survives_what_a_busy_api_server_answers(
    faults: Faults,
    stand_in: StandIn,
    tmp_path: Path,
    watching: Callable[[Path], Watching],
) -> None:
    stand_in.create(plain("small"))
    stand_in.tell("small", "Running", **progress("corpus", 1))
    kubeconfig = faults.kubeconfig(tmp_path / "through", namespace=stand_in.namespace)
    gone = faults.add("watch=true", status=410, count=1)
    busy = faults.add(r"/astrojobs\?", status=429, retry_after=1, count=1)
    broken = faults.add(r"/astrojobs\?", status=500, count=1)
    cut = faults.add("watch=true", cut="middle", count=1)
    found = watching(kubeconfig)
    found.until("[1/2] corpus")
    deadline = time.monotonic() + 60
    while not all(rule.hits for rule in (gone, busy, broken, cut)):
        stand_in.tell("small", "Running", **progress("corpus", 2))
        assert time.monotonic() < deadline, faults.rules
        assert found.process.poll() is None, found.log.read_text()
        time.sleep(0.3)
    stand_in.tell("small", "Succeeded", **progress("cpt", 9))
    assert found.ended() == 0
