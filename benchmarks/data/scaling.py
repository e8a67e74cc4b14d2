"""Two workers of a prepare stage beside one, on a machine whose speed drifts.

python benchmarks/data/scaling.py --megabytes 100
python benchmarks/data/scaling.py --latex FOLDER --megabytes 60

Runs of ``whole.py`` with one worker and with two take turns of a few seconds, by SIGSTOP and
SIGCONT: all processes of one stand still while those of the other work. So both meet the machine as
it is in the same minutes, and the ratio of their times does not depend on the hour. Turns are as
long as each run's part of the work, so that both end at about the same time. What is stopped holds
its memory. Then, of each process that took part, its seconds of a core.

With ``--share 0.5``, what would have a core of its own where there are enough is held to half of
one: each worker, the stage's own process, and Ray's together. So two cores stand for four that are
half as fast (root on Linux with cgroups of version 1, where shares are of tenths of a second).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from whole import BEGAN, family, make_corpus

TURNS = {1: 5.0, 2: 3.0}
"""Seconds, by workers."""
_TICK = os.sysconf("SC_CLK_TCK")
_SHOWN = 0.3  # seconds of a core, from which a process is told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--corpus", type=Path, help="Made if it is not there.")
    parser.add_argument("--latex", type=Path, help="Where chapters in LaTeX lie.")
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--share", type=float, help="Of a core, for all that would have one.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        corpus = options.corpus or Path(scratch) / "corpus"
        if not corpus.exists():
            make_corpus(corpus, options)
        more = [f"--latex={options.latex}"] if options.latex is not None else []
        runs = [Run(n, corpus, Path(scratch) / str(n), more, options.share) for n in TURNS]
        try:
            take_turns(runs)
        finally:
            for run in runs:
                run.end()
    one, two = (run.told() for run in runs)
    found = {"one": one, "two": two, "timesAsFast": round(one["seconds"] / two["seconds"], 3)}
    print(json.dumps(found, indent=2))
    return 0


class Run:
    """A run of ``whole.py``, standing still but for its turns."""

    def __init__(
        self, workers: int, corpus: Path, scratch: Path, more: list[str], share: float | None
    ) -> None:
        scratch.mkdir()
        self.workers, self.seconds = workers, 0.0
        self._shares = Shares(share, workers) if share is not None else None
        self.result: dict[str, Any] | None = None
        whole = str(Path(__file__).with_name("whole.py"))
        options = ["--only", f"--corpus={corpus}", f"--workers={workers}", f"--scratch={scratch}"]
        self._process = subprocess.Popen(
            [sys.executable, whole, *options, *more],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout
        while (line := self._output.readline().strip()) != BEGAN:
            if not line and self._process.poll() is not None:
                raise SystemExit(f"whole.py with {workers} workers ended early")
        self._first = self._used()
        self._last = dict(self._first)
        self._signal(signal.SIGSTOP)

    def turn(self, seconds: float) -> None:
        """Work for so long, or to the end."""
        self._signal(signal.SIGCONT)
        began = time.monotonic()
        ready: list[Any] = []
        while not ready and (left := began + seconds - time.monotonic()) > 0:
            if self._shares is not None:
                self._shares.keep(self._process.pid)
                left = min(left, 0.2)  # there may be new processes then
            ready, _, _ = select.select([self._output], [], [], left)
        self._last |= self._used()
        if ready:
            self.seconds += time.monotonic() - began
            self.result = json.loads(self._output.readline())
            return
        self._signal(signal.SIGSTOP)
        self.seconds += time.monotonic() - began

    def told(self) -> dict[str, Any]:
        """What came of it."""
        assert self.result is not None
        cores = {
            f"{name} ({process})": round(used - self._first.get(process, ("", 0.0))[1], 1)
            for process, (name, used) in self._last.items()
        }
        return {
            "workers": self.workers,
            "megabytes": self.result["megabytes"],
            "tokens": self.result["tokens"],
            "seconds": round(self.seconds, 1),
            "coreSeconds": {name: used for name, used in cores.items() if used >= _SHOWN},
        }

    def end(self) -> None:
        """Leave nothing running."""
        if self._process.poll() is None and self.result is None:
            self._signal(signal.SIGKILL)
        self._process.wait()
        if self._shares is not None:
            self._shares.end()

    def _signal(self, number: signal.Signals) -> None:
        for process in family(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def _used(self) -> dict[int, tuple[str, float]]:
        """Of each process, what it is called and its seconds of a core up to its last turn."""
        found = {}
        for process in family(self._process.pid):
            with contextlib.suppress(OSError):
                name, rest = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)
                user, system = map(int, rest.split()[11:13])
                found[process] = (name.partition("(")[2], (user + system) / _TICK)
        return found


class Shares:
    """Parts of a core that processes are held to.

    Args:
        share: Of a core, for each worker, for the stage's own process and for all others together.
        workers: How many there are.
    """

    def __init__(self, share: float, workers: int) -> None:
        self._quota, self._workers = int(share * 100_000), workers
        self._groups: dict[int, Path] = {}

    def keep(self, stage: int) -> None:
        """Hold those of a stage's processes that are not held yet."""
        for process in family(stage):
            name = self._name(process, stage)
            group = Path(f"/sys/fs/cgroup/cpu/astrosage-{self._workers}-{name}")
            if self._groups.get(process) == group:
                continue
            group.mkdir(exist_ok=True)
            (group / "cpu.cfs_quota_us").write_text(str(self._quota))
            with contextlib.suppress(OSError):  # it has ended
                (group / "cgroup.procs").write_text(str(process))
                self._groups[process] = group

    def end(self) -> None:
        """Once they have ended."""
        for group in set(self._groups.values()):
            with contextlib.suppress(OSError):  # Ray's take some seconds
                group.rmdir()

    def _name(self, process: int, stage: int) -> str:
        with contextlib.suppress(OSError):
            title = Path(f"/proc/{process}/cmdline").read_text()
            if process == stage or "RemoteWorker" in title:
                return str(process)
        return "ray"


def take_turns(runs: list[Run]) -> None:
    """Until all have ended."""
    left = list(runs)
    while left:
        for run in left:
            run.turn(TURNS[run.workers])
        left = [run for run in left if run.result is None]


if __name__ == "__main__":
    sys.exit(main())
