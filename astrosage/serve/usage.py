"""How much each key has used, summed up in a file that several replicas share."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

_FLUSH_SECONDS = 1.0


@dataclass
class Used:
    """What one key has used since the last time it was written down."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    last_used: str = ""


class UsageFile:
    """Adds up requests and tokens by key in a JSON file, about once a second.

    The file is read, added to and replaced under a lock, so it outlives replicas and several of
    them agree. A replica that is killed takes its last second with it.

    Args:
        path: The file, on a local disk.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._new: dict[str, Used] = {}
        self._lock = threading.Lock()
        self._wake, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)
        self._thread.start()

    def add(self, key: str, prompt_tokens: int, completion_tokens: int) -> None:
        """Count one request."""
        with self._lock:
            used = self._new.setdefault(key, Used())
            used.requests += 1
            used.prompt_tokens += prompt_tokens
            used.completion_tokens += completion_tokens
            used.last_used = now()
        self._wake.set()

    def close(self) -> None:
        """Write what is left; may be called twice."""
        self._end.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.is_set():
            self._wake.wait()
            self._end.wait(_FLUSH_SECONDS)
            self._wake.clear()
            self._flush()
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            new, self._new = self._new, {}
        if not new:
            return
        try:
            with _locked(self._path):
                _replace(self._path, _summed(read(self._path), new))
        except OSError as error:
            logger.warning("usageFile: %s cannot be written: %s", self._path, error.strerror)


def read(path: Path) -> dict[str, Any]:
    """The file's content: ``since`` and ``keys``; empty where it is not there or broken."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and isinstance(found.get("keys"), dict):
            return found
    return {"since": now(), "keys": {}}


def now() -> str:
    """The time as ISO 8601, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _summed(there: dict[str, Any], new: dict[str, Used]) -> dict[str, Any]:
    for name, used in new.items():
        old = there["keys"].get(name, {})
        there["keys"][name] = {
            "requests": old.get("requests", 0) + used.requests,
            "promptTokens": old.get("promptTokens", 0) + used.prompt_tokens,
            "completionTokens": old.get("completionTokens", 0) + used.completion_tokens,
            "lastUsed": used.last_used,
        }
    return there


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _replace(path: Path, value: dict[str, Any]) -> None:
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)
