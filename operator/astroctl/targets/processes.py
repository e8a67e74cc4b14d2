"""Processes of this machine: who lives, who descends from whom, who holds a port.

Read from ``/proc`` on Linux; elsewhere ``ps`` gives what it can.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")
_POLL_SECONDS = 0.05


def started(pid: int) -> str | None:
    """When a process started, in the system's own terms; None if it does not live.

    With the pid it names a process for good, where a pid alone may be given to another one.
    """
    if not _PROC.joinpath("self").exists():
        command = ["ps", "-o", "lstart=", "-p", str(pid)]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip() or None
    fields = _stat(pid)
    return fields[19] if fields and fields[0] not in ("Z", "X") else None


def _stat(pid: int) -> list[str] | None:
    """Fields of ``/proc/<pid>/stat`` from the state on (see proc(5))."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None


def _table() -> dict[int, tuple[int, int]]:
    """``pid -> (parent, session)`` of every process."""
    if not _PROC.joinpath("self").exists():
        command = ["ps", "-A", "-o", "pid=,ppid="]
        lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
        return {int(p): (int(parent), 0) for p, parent in (line.split() for line in lines)}
    found = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields and fields[0] not in ("Z", "X"):
                found[int(entry.name)] = (int(fields[1]), int(fields[3]))
    return found


def family(leader: int, marker: str, folder: str | None = None) -> set[int]:
    """The processes of a cluster: the leader's session and descendants, and who bears its mark.

    Args:
        leader: The pid that leads the session.
        marker: ``NAME=value`` of an environment variable that all of them inherit; it finds those
            that outlived their parents.
        folder: Where they keep their logs. A process that sets its title writes over its
            environment, and with it the mark; its open log files still tell whose it is.
    """
    table = _table()
    found = {pid for pid, (_, session) in table.items() if session == leader or pid == leader}
    found |= {pid for pid in table if _bears(pid, marker) or (folder and _holds(pid, folder))}
    while True:
        children = {pid for pid, (parent, _) in table.items() if parent in found} - found
        if not children:
            return found - {os.getpid()}
        found |= children


def _bears(pid: int, marker: str) -> bool:
    try:
        return marker.encode() in (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _holds(pid: int, folder: str) -> bool:
    """Whether a process has a file open below a folder."""
    try:
        for descriptor in (_PROC / str(pid) / "fd").iterdir():
            if os.readlink(descriptor).startswith(f"{folder}/"):
                return True
    except OSError:
        pass
    return False


def sockets(pids: Iterable[int]) -> set[str]:
    """Inode numbers of the sockets that processes hold (Linux)."""
    found = set()
    for pid in pids:
        try:
            for descriptor in (_PROC / str(pid) / "fd").iterdir():
                target = os.readlink(descriptor)
                if target.startswith("socket:["):
                    found.add(target[8:-1])
        except OSError:
            continue
    return found


def end(pids: Iterable[int], seconds: float) -> None:
    """Ask processes to end, and after ``seconds`` end them."""
    known = {pid: since for pid in pids if (since := started(pid))}
    for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 5.0)):
        for pid in _living(known):
            try:
                os.kill(pid, number)
            except (ProcessLookupError, PermissionError):
                continue
        deadline = time.monotonic() + patience
        while _living(known) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)


def _living(known: dict[int, str]) -> list[int]:
    return [pid for pid, since in known.items() if started(pid) == since]
