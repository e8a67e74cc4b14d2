"""The access log: a line of JSON for each request."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from astrosage.errors import StorageError


class AccessLog:
    """A file that lines are added to, or standard error.

    Every line is written whole by one call, so that several replicas may share a file and a program
    may move it away: it is opened anew for the next line.

    Args:
        path: The file; ``-`` for standard error. It is made for its owner alone.

    Raises:
        StorageError: If it cannot be written.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        if path != "-":
            self._append(b"")

    def write(self, entry: dict[str, Any]) -> None:
        """Add a line. What is not ASCII is escaped, so that nothing can break out of its line."""
        line = json.dumps(entry, separators=(",", ":")) + "\n"
        if self._path == "-":
            sys.stderr.write(line)
            return
        self._append(line.encode())

    def _append(self, line: bytes) -> None:
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StorageError(
                f"accessLog: {self._path} cannot be written: {error.strerror}",
                "name a file in a folder that the server may write to, or `-`",
            ) from None
