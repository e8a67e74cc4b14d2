"""Real runs of the pipeline driver on a private Ray cluster, with processes one can kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from astrosage.runs import metrics
from astrosage.runs.directory import RunDirectory
from astrosage.spec.job import AstroJob
from astrosage.spec.load import parse

WORDS = ("star", "planet", "galaxy", "orbit", "light", "mass", "dust", "gas", "wave", "core")


def write_texts(folder: Path, documents: int = 40) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(documents):
        words = [WORDS[(n * 7 + i * i + 3 * i) % len(WORDS)] for i in range(60 + n)]
        (folder / f"{n:02d}.txt").write_text(f"Document {n}. " + " ".join(words) + "\n")


def make_job(
    folder: Path, model: Path, name: str, workers: int = 2, **train: Any
) -> tuple[AstroJob, RunDirectory]:
    write_texts(folder / "texts")
    options = {
        "objective": "cpt",
        "data": "corpus",
        "maxSteps": 60,
        "learningRate": 1e-3,
        "globalBatchSize": 8,
        "checkpoint": {"everySteps": 10, "keep": 2},
        **train,
    }
    job = parse(
        {
            "metadata": {"name": name},
            "spec": {
                "model": str(model),
                "storage": str(folder / "runs"),
                "stages": [
                    {
                        "name": "corpus",
                        "prepare": {
                            "sources": [{"path": str(folder / "texts/*.txt")}],
                            "validation": {"fraction": 0.1},
                            "decontaminate": {"enabled": False},
                            "pack": {"sequenceLength": 128},
                        },
                    },
                    {"name": "cpt", "train": options},
                ],
                "cluster": {"workers": workers, "resourcesPerWorker": {"cpu": 1}},
                "retry": {"maxFailures": 2},
            },
        }
    )
    run = RunDirectory.of(job)
    run.create(job)
    return job, run


class Driver:
    """``python -m ray_jobs.pipeline`` in a session of its own, so that all of it can be killed."""

    def __init__(
        self, run: RunDirectory, attempt: int = 1, cpus: int = 2, **variables: str
    ) -> None:
        environment = dict(os.environ, RAY_ADDRESS="", OMP_NUM_THREADS="1", **variables)
        environment["RAY_USAGE_STATS_ENABLED"] = "0"
        # Nothing may be compiled while training on a CPU.
        environment["CC"] = environment["CXX"] = "/bin/false"
        environment["RAY_OVERRIDE_RESOURCES"] = f'{{"CPU": {cpus}}}'
        environment.pop("RAY_ADDRESS")
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "ray_jobs.pipeline", run.uri),
                *("--stages", "corpus,cpt", "--attempt", str(attempt)),
            ],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.run = run

    def wait(self, timeout: float = 240) -> tuple[int, str]:
        output, _ = self.process.communicate(timeout=timeout)
        return self.process.returncode, output

    def succeed(self) -> str:
        code, output = self.wait()
        assert code == 0, output[-6000:]
        return output

    def until(self, condition: Callable[[], bool], timeout: float = 180) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, "the run does not get there"
            assert self.process.poll() is None, self.process.communicate()[0][-6000:]
            time.sleep(0.01)

    def until_step(self, step: int) -> None:
        stage = self.run.stage("cpt").storage
        self.until(lambda: (metrics.last(stage) or {}).get("step", 0) >= step)

    def workers(self) -> list[int]:
        return [p for p, title in self.family() if title.startswith("ray::RayTrainWorker")]

    def family(self) -> list[tuple[int, str]]:
        """The driver's processes: it, and all that descend from it."""
        parents, titles = {}, {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                stat = (entry / "stat").read_text()
                titles[int(entry.name)] = (
                    (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                )
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return [(p, titles.get(p, "")) for p in found]

    def kill_everything(self) -> None:
        for pid, _ in reversed(self.family()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.communicate()


def losses(run: RunDirectory) -> dict[int, float]:
    """Training loss by step."""
    lines = metrics.read(run.stage("cpt").storage)
    steps = [m["step"] for m in lines if "loss" in m]
    assert len(steps) == len(set(steps)), "a step is recorded twice"
    return {m["step"]: m["loss"] for m in lines if "loss" in m}
