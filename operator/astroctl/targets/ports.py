"""Free ports, and who holds one that is not free."""

from __future__ import annotations

import socket
from collections.abc import Collection
from pathlib import Path

from astroctl.targets.processes import sockets

_LISTEN = "0A"


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections that linger after their server are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def choose(preferred: int, taken: Collection[int] = ()) -> int:
    """The preferred port if it is free, else any other."""
    if preferred not in taken and is_free(preferred):
        return preferred
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port


def holder(port: int) -> str:
    """``name (pid)`` of the process that listens on a port, where it can be told; else empty."""
    inodes = {inode for _, found, inode in listening() if found == port}
    for process in Path("/proc").glob("[0-9]*"):
        if inodes & sockets([int(process.name)]):
            try:
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
            except OSError:
                continue
    return ""


def listening() -> list[tuple[str, int, str]]:
    """``(address, port, inode)`` of every listening TCP socket (Linux; empty elsewhere)."""
    found = []
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        try:
            lines = Path("/proc/net", name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN:
                address, _, port = fields[1].rpartition(":")
                found.append((_address(address, family), int(port, 16), fields[9]))
    return found


def _address(text: str, family: socket.AddressFamily) -> str:
    """The kernel writes addresses as 32-bit words in the machine's own byte order."""
    words = [bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8)]
    return socket.inet_ntop(family, b"".join(words)).removeprefix("::ffff:")
