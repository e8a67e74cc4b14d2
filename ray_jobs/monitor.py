"""progress.json, written by the driver alone: phase, live figures, heartbeat, cost."""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

from astrosage.errors import StorageError
from astrosage.runs import metrics
from astrosage.runs.directory import RunDirectory
from astrosage.runs.storage import Storage
from astrosage.spec.job import AstroJob
from astrosage.spec.stages import Stage

_LIVE = ("step", "total", "unit", "tokens", "loss", "tokensPerSecond", "mfu", "etaSeconds")
_HEARTBEAT_SECONDS = 5.0
MIRROR = "astrosage-progress.json"


class Monitor:
    """Keeps progress.json fresh from the running stage's metrics, in a thread.

    Args:
        run: The run directory.
        job: The run.
        stages: The stages of this submission, in order.
        attempt: Which submission of the run this is, from 1.
    """

    def __init__(self, run: RunDirectory, job: AstroJob, stages: list[Stage], attempt: int) -> None:
        self._run, self._job = run, job
        # Until a stage says where it runs, the cluster of the first has been waited for.
        self._price = job.cluster_of(stages[0]).price_per_hour if stages else None
        self._interval = 1.0 if run.storage.local is not None else _HEARTBEAT_SECONDS
        # Reentrant: a signal may interrupt the main thread while it holds the lock.
        self._lock, self._done = threading.RLock(), threading.Event()
        self._began = time.time()
        self._spent = float(run.progress().get("costUSD") or 0.0)
        self._stage_began = self._priced_since = self._began
        self._stages = [
            {"name": s.name, "kind": s.kind, "phase": "pending", "seconds": None} for s in stages
        ]
        self._progress: dict[str, Any] = {
            "run": job.key,
            "phase": "running",
            "attempt": attempt,
            "startedAt": round(self._began, 3),
            "stage": None,
            "stages": self._stages,
            "error": None,
        }
        self._written: dict[str, Any] = {}
        self._written_at = 0.0
        self._mirror: Storage | None = None
        self._thread = threading.Thread(target=self._loop, name="progress", daemon=True)

    def mirror(self, folder: str | None) -> None:
        """Also write to Ray's log folder, whence the dashboard hands it out to whoever has the
        cluster's token, whatever the run's storage."""
        if folder is not None:
            self._mirror = Storage(folder)
            self._write(force=True)

    def start(self) -> None:
        """Begin to report."""
        self._write(force=True)
        self._thread.start()

    def begin(self, stage: Stage) -> None:
        """A stage starts."""
        with self._lock:
            self._spent, self._priced_since = self._cost(), time.time()
            self._stage_began = self._priced_since
            self._price = self._job.cluster_of(stage).price_per_hour
            self._progress = {k: v for k, v in self._progress.items() if k not in _LIVE}
            self._progress["stage"] = stage.name
            self._entry(stage.name)["phase"] = "running"
        self._write(force=True)

    def end(self, stage: Stage, phase: str, **facts: Any) -> None:
        """A stage is over: ``finished``, ``skipped``, ``failed`` or ``stopped``."""
        with self._lock:
            self._progress |= self._live()
            seconds = None if phase == "skipped" else round(time.time() - self._stage_began, 2)
            self._entry(stage.name).update({"phase": phase, "seconds": seconds, **facts})
        self._write(force=True)

    def close(self, phase: str, error: dict[str, Any] | None = None) -> None:
        """The submission is over: ``succeeded``, ``failed`` or ``stopped``."""
        self._done.set()
        self._thread.join(timeout=30)
        with self._lock:
            self._progress |= {"phase": phase, "error": error, "etaSeconds": None}
            for entry in self._stages:
                if entry["phase"] == "running":
                    entry["phase"] = "stopped" if phase == "stopped" else "failed"
        try:
            self._write(force=True)
        except StorageError as trouble:
            # The run's own error is told all the same; `status` sees the heartbeat end.
            print(f"progress.json: {trouble.message}", file=sys.stderr, flush=True)

    def _entry(self, name: str) -> dict[str, Any]:
        return next(e for e in self._stages if e["name"] == name)

    def _loop(self) -> None:
        while not self._done.wait(self._interval):
            try:
                self._write()
            except StorageError:
                continue  # the stage itself meets the same trouble and says so

    def _write(self, *, force: bool = False) -> None:
        with self._lock:
            self._progress |= self._live()
            if self._price is not None:
                self._progress["costUSD"] = round(self._cost(), 4)
            stale = time.time() - self._written_at > _HEARTBEAT_SECONDS
            if force or stale or self._progress != self._written:
                self._written_at = time.time()
                told = {**self._progress, "heartbeat": round(self._written_at, 3)}
                self._written = dict(self._progress)
                if self._mirror is not None:
                    self._mirror.write_bytes(MIRROR, (json.dumps(told) + "\n").encode())
                self._run.write_progress(told)

    def _cost(self) -> float:
        """USD spent by all attempts, waiting included."""
        hours = (time.time() - self._priced_since) / 3600
        return self._spent + hours * (self._price or 0.0)

    def _live(self) -> dict[str, Any]:
        name = self._progress.get("stage")
        if name is None or self._entry(name)["phase"] != "running":
            return {}
        found: dict[str, Any] = {}
        # What one line does not tell, such as the last checkpoint, one before it may.
        for line in metrics.tail(self._run.stage(name).storage):
            if line.get("time", 0) >= self._stage_began:  # else of an earlier attempt
                found |= {k: line[k] for k in (*_LIVE, "checkpoint") if k in line}
        return found
