"""Memory and processor time of workers, watched from outside, their children included."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

import numpy as np
import psutil

# Reading a worker's page tables takes it some hundredths of a second; PSS is in them.
_INTERVAL_SECONDS = 3.0


class Watch:
    """Samples until it is left.

    Memory is the proportional set size: shared pages (libraries, shared memory) count in proportion
    to who shares them, so a worker is not charged for what it would share with any other.

    Args:
        workers: Gives the worker processes that run now.
    """

    def __init__(self, workers: Callable[[], list[psutil.Process]]) -> None:
        self._workers = workers
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.samples: list[tuple[float, int, float]] = []
        """When, the largest worker's bytes and all workers' processor seconds until then."""

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def peak(self, begin: float, end: float) -> int:
        """The largest worker's most bytes between two times."""
        return max((size for when, size, _ in self.samples if begin <= when <= end), default=0)

    def processor_seconds(self, begin: float, end: float) -> float:
        """What all workers together were given of the processors between two times."""
        times, _, seconds = zip(*self.samples, strict=True)
        first, last = np.interp([begin, end], times, seconds)
        return float(last - first)

    def _sample(self) -> None:
        workers: list[psutil.Process] = []
        while not self._done.wait(_INTERVAL_SECONDS):
            with contextlib.suppress(psutil.Error, OSError):
                if not workers or not all(worker.is_running() for worker in workers):
                    workers = self._workers()
                used = [_of_tree(worker) for worker in workers]
                if used:
                    sizes, seconds = zip(*used, strict=True)
                    self.samples.append((time.time(), max(sizes), sum(seconds)))


def _of_tree(worker: psutil.Process) -> tuple[int, float]:
    size, seconds = 0, 0.0
    for process in [worker, *worker.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            size += process.memory_full_info().pss
            times = process.cpu_times()
            seconds += times.user + times.system
    return size, seconds
