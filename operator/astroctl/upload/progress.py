"""How far an upload is, on standard error: bytes, rate and time left."""

from __future__ import annotations

import sys
import threading
import time
from typing import IO, Protocol

from astrosage.units import format_bytes, format_seconds

_TERMINAL_SECONDS = 0.2
_FILE_SECONDS = 10.0
_WORTH_TELLING_SECONDS = 1.0


class Progress(Protocol):
    """Who is told of an upload; called from several threads."""

    def begin(self, what: str, total: int) -> None:
        """Something of ``total`` bytes starts; 0 if nobody knows how many."""

    def add(self, size: int) -> None:
        """So many more bytes are done."""

    def end(self) -> None:
        """It is over, well or not."""


class Quiet:
    """Tells nobody."""

    def begin(self, what: str, total: int) -> None:
        """Nothing."""

    def add(self, size: int) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


class Shown:
    """One line that is rewritten on a terminal, a line now and then elsewhere.

    Args:
        stream: Where to.
    """

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._lock = threading.Lock()
        self._what, self._total, self._done = "", 0, 0
        self._began = self._shown = 0.0

    def begin(self, what: str, total: int) -> None:
        """Start a line."""
        self._what, self._total, self._done = what, total, 0
        self._began = time.monotonic()
        self._shown = self._began

    def add(self, size: int) -> None:
        """Show the new state, if the last one was shown a while ago."""
        with self._lock:
            self._done += size
            now = time.monotonic()
            if now - self._shown >= (_TERMINAL_SECONDS if self._terminal else _FILE_SECONDS):
                self._shown = now
                self._write(now)

    def end(self) -> None:
        """Leave the last state standing, unless it was over before anybody could wonder."""
        with self._lock:
            now = time.monotonic()
            if not self._total and now - self._began < _WORTH_TELLING_SECONDS:
                return
            self._write(now)
            if self._terminal:
                self._stream.write("\n")
                self._stream.flush()

    def line(self, seconds: float) -> str:
        """The state after so many seconds."""
        text = f"{self._what}: {format_bytes(self._done)}"
        if self._total:
            share = 100 * self._done / self._total
            text += f" of {format_bytes(self._total)} ({share:.0f} %)"
        rate = self._done / seconds if seconds > 0 else 0.0
        if rate:
            text += f", {format_bytes(rate)}/s"
            if self._done < self._total:
                text += f", {format_seconds((self._total - self._done) / rate)} left"
        return text

    def _write(self, now: float) -> None:
        line = self.line(now - self._began)
        self._stream.write(f"\r{line}\x1b[K" if self._terminal else f"{line}\n")
        self._stream.flush()
