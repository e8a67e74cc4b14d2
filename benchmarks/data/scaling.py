"""A prepare stage with two workers beside one with one, on a machine whose speed drifts.

python benchmarks/data/scaling.py --megabytes 100
python benchmarks/data/scaling.py --latex FOLDER --megabytes 60

Runs of ``whole.py`` with one worker and with two take turns of a few seconds, by SIGSTOP and
SIGCONT: all processes of one stand still while those of the other work. So both meet the machine as
it is in the same minutes, and the ratio of their times does not depend on the hour. Turns are as
long as each run's part of the work, so that all end at about the same time. What is stopped holds
its memory. Then, of each process that took part, its seconds of a core.

Two runs with one worker each, beside each other, take turns with them: they share nothing but the
machine, so twice the time of one over theirs is what its second core is worth in that hour, and no
program gets more from two workers.

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

TURNS = {"one": 18.0, "two": 10.0, "apart": 18.0}
"""Seconds."""
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
        runs = {
            "one": Run("one", 1, corpus, Path(scratch), more, options.share),
            "two": Run("two", 2, corpus, Path(scratch), more, options.share),
            "apart": Run("apart", 1, corpus, Path(scratch), more, options.share, copies=2),
        }
        try:
            take_turns(list(runs.values()))
        finally:
            for run in runs.values():
                run.end()
    found = {name: run.told() for name, run in runs.items()}
    one, two, apart = (told["seconds"] for told in found.values())
    found["timesAsFast"] = {"two": round(one / two, 3), "apart": round(2 * one / apart, 3)}
    print(json.dumps(found, indent=2))
    return 0


class Run:
    """One of ``whole.py``, or copies of it beside each other, standing still but for its turns."""

    def __init__(
        self,
        name: str,
        workers: int,
        corpus: Path,
        scratch: Path,
        more: list[str],
        share: float | None,
        copies: int = 1,
    ) -> None:
        self.name, self.seconds = name, 0.0
        self.results: dict[int, dict[str, Any]] = {}
        self._processes: list[subprocess.Popen[str]] = []
        self._shares = Shares(share, name) if share is not None else None
        slowed = sum(TURNS.values()) / TURNS[name]
        whole = str(Path(__file__).with_name("whole.py"))
        options = ["--only", f"--corpus={corpus}", f"--workers={workers}", f"--slowed={slowed}"]
        for copy in range(copies):
            own = scratch / f"{name}-{copy}"
            own.mkdir()
            process = subprocess.Popen(
                [sys.executable, whole, *options, f"--scratch={own}", *more],
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
            )
            self._processes.append(process)
            assert process.stdout is not None
            while (line := process.stdout.readline().strip()) != BEGAN:
                if not line and process.poll() is not None:
                    raise SystemExit(f"whole.py with {workers} workers ended early")
            self._signal(signal.SIGSTOP)
        self._first = self._used()
        self._last = dict(self._first)

    @property
    def is_done(self) -> bool:
        """Whether all copies have ended."""
        return len(self.results) == len(self._processes)

    def turn(self, seconds: float) -> None:
        """Work for so long, or to the end."""
        self._signal(signal.SIGCONT)
        began = time.monotonic()
        while not self.is_done and (left := began + seconds - time.monotonic()) > 0:
            if self._shares is not None:
                for process in self._processes:
                    self._shares.keep(process.pid)
                left = min(left, 0.2)  # there may be new processes then
            waiting = {p.stdout: p for p in self._processes if p.pid not in self.results}
            ready, _, _ = select.select(list(waiting), [], [], left)
            if ready:
                self._last |= self._used()
            for output in ready:
                self.results[waiting[output].pid] = json.loads(output.readline())
        self.seconds += time.monotonic() - began
        if not self.is_done:
            self._last |= self._used()
            self._signal(signal.SIGSTOP)

    def told(self) -> dict[str, Any]:
        """What came of it."""
        cores = {
            f"{name} ({process})": round(used - self._first.get(process, ("", 0.0))[1], 1)
            for process, (name, used) in self._last.items()
        }
        results = list(self.results.values())
        return {
            "megabytes": results[0]["megabytes"],
            "tokens": [result["tokens"] for result in results],
            "seconds": round(self.seconds, 1),
            "coreSeconds": {name: used for name, used in cores.items() if used >= _SHOWN},
        }

    def end(self) -> None:
        """Leave nothing running."""
        if not self.is_done:
            self._signal(signal.SIGKILL)
        for process in self._processes:
            process.wait()
        if self._shares is not None:
            self._shares.end()

    def _members(self) -> list[int]:
        return [member for process in self._processes for member in family(process.pid)]

    def _signal(self, number: signal.Signals) -> None:
        for process in self._members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def _used(self) -> dict[int, tuple[str, float]]:
        """Of each process, what it is called and its seconds of a core up to its last turn."""
        found = {}
        for process in self._members():
            with contextlib.suppress(OSError):
                name, rest = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)
                user, system = map(int, rest.split()[11:13])
                found[process] = (name.partition("(")[2], (user + system) / _TICK)
        return found


class Shares:
    """Parts of a core that processes are held to.

    Args:
        share: Of a core, for each worker, for the stage's own process and for all others together.
        name: Of the run.
    """

    def __init__(self, share: float, name: str) -> None:
        self._quota, self._run = int(share * 100_000), name
        self._groups: dict[int, Path] = {}

    def keep(self, stage: int) -> None:
        """Hold those of a stage's processes that are not held yet."""
        for process in family(stage):
            name = self._name(process, stage)
            group = Path(f"/sys/fs/cgroup/cpu/astrosage-{self._run}-{name}")
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
            run.turn(TURNS[run.name])
        left = [run for run in left if not run.is_done]


if __name__ == "__main__":
    sys.exit(main())
