"""The script that runs before a worker pod ends, in a real bash with a made-up /proc."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from astroctl.render.draining import drain_hook, drain_seconds

_IDLE = ["/bin/bash", "raylet", "ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent"]
_TRAINING = "ray::RayTrainWorker.execute"


@pytest.mark.parametrize(
    ("grace", "seconds"), [(0, 0), (19, 0), (20, 15), (60, 45), (120, 105), (3600, 3585)]
)
def test_a_part_of_the_grace_is_left_for_ray(grace: int, seconds: int) -> None:
    assert drain_seconds(grace) == seconds
    assert (drain_hook(grace) is None) == (seconds == 0)


@dataclass
class Pod:
    """A container: its processes, its head, and a `ray` that notes how it was called."""

    folder: Path
    head: socket.socket
    address: str

    def runs(self, *titles: str) -> None:
        for number, title in enumerate(titles):
            place = self.folder / "proc" / str(100 + number)
            place.mkdir(parents=True)
            (place / "cmdline").write_bytes(title.encode() + b"\0")

    def ends_process(self, number: int) -> None:
        (self.folder / "proc" / str(100 + number) / "cmdline").unlink()

    def has_ray(self, script: str) -> None:
        file = self.folder / "bin" / "ray"
        file.parent.mkdir()
        file.write_text(f"#!/bin/bash\n{script}\n")
        file.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def start(self, grace: int = 40, seconds: int | None = None) -> subprocess.Popen[bytes]:
        hook = drain_hook(grace)
        assert hook is not None
        *shell, script = hook["preStop"]["exec"]["command"]
        script = script.replace("/proc/", f"{self.folder}/proc/")
        if seconds is not None:
            assert f"-lt {drain_seconds(grace)} ]" in script
            script = script.replace(f"-lt {drain_seconds(grace)} ]", f"-lt {seconds} ]")
        # Not this process's path, on which a real `ray` may be.
        path = f"{self.folder / 'bin'}:/usr/bin:/bin"
        env = {"PATH": path, "RAY_ADDRESS": self.address, "CALLS": f"{self.folder}/calls"}
        return subprocess.Popen([*shell, script], env=env, stdout=subprocess.PIPE)


_NOTE = 'echo "$@" >> "$CALLS"'


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    head = socket.create_server(("127.0.0.1", 0))
    with head:
        host, port = head.getsockname()
        yield Pod(tmp_path, head, f"{host}:{port}")


def ended(process: subprocess.Popen[bytes], within: float) -> str:
    began = time.monotonic()
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert time.monotonic() - began < within
    return output.decode()


def test_a_pod_without_work_ends_at_once(pod: Pod) -> None:
    pod.runs(*_IDLE)
    pod.has_ray(_NOTE)
    ended(pod.start(), within=2)
    assert pod.calls == []


def test_a_pod_whose_head_is_gone_ends_at_once(pod: Pod) -> None:
    pod.runs(*_IDLE, _TRAINING)
    pod.has_ray(_NOTE)
    pod.head.close()
    ended(pod.start(), within=4)
    assert pod.calls == []


def test_training_is_told_and_waited_for(pod: Pod) -> None:
    pod.runs(*_IDLE, _TRAINING)
    pod.has_ray(_NOTE)
    process = pod.start(grace=40)
    deadline = time.monotonic() + 10
    while not pod.calls and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    assert process.poll() is None
    (call,) = pod.calls
    assert call.startswith(f"drain-node --address {pod.address} --reason DRAIN_NODE_REASON_PREEMPT")
    assert call.endswith("--deadline-remaining-seconds 30")
    pod.ends_process(len(_IDLE))
    assert "at the latest" in ended(process, within=3)


def test_waiting_ends_when_the_head_goes(pod: Pod) -> None:
    pod.runs(_TRAINING)
    pod.has_ray(_NOTE)
    process = pod.start(grace=3600)
    while not pod.calls:
        time.sleep(0.05)
    pod.head.close()
    ended(process, within=8)


@pytest.mark.parametrize("script", [None, "exit 1"])
def test_a_ray_that_cannot_be_told_does_no_harm(pod: Pod, script: str | None) -> None:
    pod.runs(_TRAINING)
    if script:
        pod.has_ray(script)
    process = pod.start()
    time.sleep(0.5)
    pod.ends_process(0)
    assert "could not be told" in ended(process, within=3)


def test_waiting_ends_at_the_deadline(pod: Pod) -> None:
    pod.runs(_TRAINING)
    pod.has_ray(_NOTE)
    ended(pod.start(grace=20, seconds=2), within=6)
    assert pod.calls
