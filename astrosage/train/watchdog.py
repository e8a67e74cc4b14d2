"""What watches over a training: losses that go bad, steps that hang."""

from __future__ import annotations

import faulthandler
import logging
import math
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from astrosage.spec.train import Watchdog

log = logging.getLogger("astrosage.train")

WINDOW = 32
"""Good losses that the median is taken over."""
ENOUGH = 8
"""Good losses before an explosion is judged: the first steps of a training fall fast."""
FLOOR = 0.1
"""Nats; a median below counts as this much, since losses of what is known by heart differ by large
ratios and mean nothing by it."""


class LossWatch:
    """Tells good losses from bad ones.

    It sees only what is the same on all ranks (the loss of the global batch, the global gradient
    norm), so all ranks come to the same verdict without a word between them.

    Args:
        spec: The stage's watchdog.
    """

    def __init__(self, spec: Watchdog) -> None:
        self._ratio = spec.explosion_ratio
        self._good: deque[float] = deque(maxlen=WINDOW)

    def verdict(self, loss: float, gradient_norm: float | None = None) -> str | None:
        """Judge a step; a good loss joins the history, a bad one does not.

        Args:
            loss: Mean loss of the global batch in nats a token.
            gradient_norm: Global gradient norm before clipping; None where it is not known yet.

        Returns:
            What is wrong, as the rest of a sentence that begins with "the"; None if nothing is.
        """
        if not math.isfinite(loss):
            return f"loss is {loss}"
        if gradient_norm is not None and not math.isfinite(gradient_norm):
            return f"gradient norm is {gradient_norm}"
        if self._ratio is not None and len(self._good) >= ENOUGH:
            median = statistics.median(self._good)
            if loss > self._ratio * max(median, FLOOR):
                return (
                    f"loss is {loss:.4g}, more than {self._ratio:g} times the median {median:.4g} "
                    f"of the last {len(self._good)} good steps"
                )
        self._good.append(loss)
        return None

    def state_dict(self) -> dict[str, Any]:
        """The state as JSON values."""
        return {"good": list(self._good)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state."""
        self._good = deque((float(x) for x in state.get("good", [])), maxlen=WINDOW)


class HangWatch:
    """Diagnoses a process that makes no progress, then kills it so that its group is restarted.

    A daemon thread looks how long ago the last beat was. After ``seconds`` it logs the Python stack
    of every thread; after half as long again without a beat it kills the process with SIGKILL: a
    rank that hangs in a collective operation listens to nothing less. Should native code keep the
    interpreter's lock, so that no Python thread can run, faulthandler's own thread, which needs no
    lock, writes the stacks to standard error and ends the process after twice ``seconds``.

    Use it as a context manager, once in a process at a time.

    Args:
        seconds: Longest time between two beats; None switches the watch off.
        on_hang: Called with the message and the stacks; by default they are logged as an error.
    """

    def __init__(self, seconds: float | None, on_hang: Callable[[str], None] | None = None) -> None:
        self._seconds = seconds
        self._on_hang = on_hang or log.error
        self._beat = time.monotonic()
        self._where = "the start"
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def beat(self, where: str = "") -> None:
        """Say that progress is made; costs less than a microsecond.

        Args:
            where: What begins now, for the message if it never ends: ``step 12: backward``.
        """
        self._beat = time.monotonic()
        if where:
            self._where = where

    def __enter__(self) -> HangWatch:
        if self._seconds is not None:
            self.beat()
            self._thread = threading.Thread(
                target=self._watch, args=(self._seconds,), name="hang-watch", daemon=True
            )
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self, seconds: float) -> None:
        told: float | None = None
        try:
            while not self._over.wait(min(seconds / 10, 5.0)):
                self._arm(2 * seconds)
                silent = time.monotonic() - self._beat
                if silent < seconds:
                    told = None
                elif told is None:
                    told = time.monotonic()
                    self._tell(silent, seconds / 2)
                elif time.monotonic() - told >= seconds / 2:
                    self._kill()
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _arm(self, seconds: float) -> None:
        """Should this thread not come back in time, the one without the lock takes over."""
        if sys.__stderr__ is not None:
            faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__)

    def _tell(self, silent: float, left: float) -> None:
        # In a thread of its own: a log that hangs too, on a dead network disk, must not keep the
        # process alive.
        message = (
            f"no progress for {silent:.3g} s since {self._where} (process {os.getpid()}); unless "
            f"it goes on within {left:.3g} s, this worker is killed and restarted from the last "
            f"checkpoint; its stacks:\n{stacks()}"
        )
        threading.Thread(target=self._on_hang, args=(message,), daemon=True).start()

    def _kill(self) -> None:
        flusher = threading.Thread(target=_last_words, args=(os.getpid(),), daemon=True)
        flusher.start()
        flusher.join(timeout=10.0)
        os.kill(os.getpid(), signal.SIGKILL)


def stacks() -> str:
    """The Python stacks of all threads of this process, the most recent call first."""
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file=file, all_threads=True)
        file.seek(0)
        return file.read().decode(errors="replace")


def _last_words(pid: int) -> None:
    log.error("process %d still makes no progress: killed", pid)
    for handler in logging.getLogger().handlers:
        handler.flush()
