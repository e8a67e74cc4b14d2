"""metrics.jsonl: one JSON object a line, the single source of a stage's live state.

Every line has ``step``, ``total`` and ``unit`` (what a step is: optimizer steps, questions,
records); stages add what they know (``loss``, ``tokensPerSecond``, …). The driver turns the last
line into progress.json, so that only one process writes that file.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from astrosage.errors import NotFoundError
from astrosage.runs.storage import Storage

NAME = "metrics.jsonl"
_UPLOAD_INTERVAL_SECONDS = 5.0


class AppendOnly:
    """A growing text file: appended on a disk, uploaded whole at intervals elsewhere.

    Not for two writers at once.
    """

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage, self._name = storage, name
        self._buffer = b""
        self._uploaded = 0.0
        if storage.local is not None:
            (storage.local / name).parent.mkdir(parents=True, exist_ok=True)
            if _is_cut_short(storage.local / name):
                self.write("\n")
        elif storage.exists(name):
            self._buffer = storage.read_bytes(name)

    def write(self, text: str) -> None:
        """Append text."""
        if self._storage.local is not None:
            with (self._storage.local / self._name).open("a", encoding="utf-8") as file:
                file.write(text)
            return
        self._buffer += text.encode()
        if time.monotonic() - self._uploaded > _UPLOAD_INTERVAL_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Upload what is not yet there."""
        if self._storage.local is None and self._buffer:
            self._storage.write_bytes(self._name, self._buffer)
            self._uploaded = time.monotonic()


def _is_cut_short(file: Path) -> bool:
    """Whether a crash left a last line without its end, which the next one would be glued to."""
    if not file.is_file() or file.stat().st_size == 0:
        return False
    with file.open("rb") as opened:
        opened.seek(-1, 2)
        return opened.read(1) != b"\n"


class MetricsWriter:
    """Appends a stage's metrics.

    Args:
        stage: The stage's folder.
        after_step: On resume, the checkpoint's step: later lines are dropped, since those steps
            are done again. None keeps all.
    """

    def __init__(self, stage: Storage, after_step: int | None = None) -> None:
        if after_step is not None:
            kept = [m for m in read(stage) if m.get("step", 0) <= after_step]
            stage.write_bytes(NAME, "".join(json.dumps(m) + "\n" for m in kept).encode())
        self._file = AppendOnly(stage, NAME)

    def log(self, step: int, total: int, unit: str, **values: Any) -> None:
        """Append a line; the time is added."""
        line = {"time": round(time.time(), 3), "step": step, "total": total, "unit": unit, **values}
        self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        """Make sure that all lines are stored."""
        self._file.flush()


def read(stage: Storage) -> list[dict[str, Any]]:
    """All complete lines; a line cut short by a crash is left out."""
    try:
        raw = stage.read_bytes(NAME)
    except NotFoundError:
        return []
    return _lines(raw)


def last(stage: Storage) -> dict[str, Any] | None:
    """The newest complete line; reads only the file's end on a disk."""
    lines = tail(stage)
    return lines[-1] if lines else None


def tail(stage: Storage) -> list[dict[str, Any]]:
    """The newest complete lines, oldest first: on a disk those of the file's last 8 KiB."""
    if stage.local is None:
        return read(stage)
    try:
        with (stage.local / NAME).open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 8192))
            raw = file.read()
    except FileNotFoundError:
        return []
    return _lines(raw)


def _lines(raw: bytes) -> list[dict[str, Any]]:
    lines = []
    for line in raw.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            lines.append(value)
    return lines
