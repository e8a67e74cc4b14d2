"""Servers as child processes that end with the tests, however these end."""

from __future__ import annotations

import contextlib
import ctypes
import random
import signal
import socket
import subprocess
from pathlib import Path

_SET_PARENT_DEATH_SIGNAL = 1


class Server:
    """One server program.

    Args:
        name: Of its log file.
        command: Program and arguments.
        log: Folder of the log file.
        environment: Of the process; default: this one's.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        log: Path,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.name, self.command, self._environment = name, command, environment
        log.mkdir(parents=True, exist_ok=True)
        self.log = log / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; from the main thread, since it ends with the thread that started it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )

    @property
    def lives(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self.process is not None and self.lives:
            self.process.send_signal(number)

    def stop(self, patience: float = 5.0) -> None:
        """End it: asked for so many seconds, then killed."""
        if self.process is None:
            return
        if patience:
            self.signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)
        self.signal(signal.SIGKILL)
        self.process.wait()

    def said(self, lines: int = 15) -> str:
        """The last lines of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def free_port() -> int:
    """A port that no server has, below those that the system gives to outgoing connections.

    So it stays free while the server that it is for is stopped and started again.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
