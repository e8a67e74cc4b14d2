"""Logs that outlive the cluster: everything a process logs goes to the stage's ``logs/`` too."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from astrosage.runs.metrics import AppendOnly
from astrosage.runs.storage import Storage

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class StorageHandler(logging.Handler):
    """A logging handler that appends to a file of the run directory."""

    def __init__(self, storage: Storage, name: str) -> None:
        super().__init__()
        self._file = AppendOnly(storage, name)
        self.setFormatter(logging.Formatter(_FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        """Append a record; a log that cannot be written never stops the run."""
        try:
            self._file.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Store what is still held back."""
        with self.lock or nullcontext():
            self._file.flush()

    def close(self) -> None:
        """Store what is still held back."""
        try:
            self._file.flush()
        finally:
            super().close()


@contextmanager
def logging_to(storage: Storage, name: str) -> Iterator[logging.Logger]:
    """Log to ``logs/<name>`` below ``storage`` and to standard output for the block's duration."""
    root = logging.getLogger()
    handlers: list[logging.Handler] = [StorageHandler(storage, f"logs/{name}")]
    if not root.handlers:
        handlers.append(logging.StreamHandler())
        handlers[-1].setFormatter(logging.Formatter(_FORMAT))
    logger = logging.getLogger("astrosage")
    logger.setLevel(logging.INFO)
    _enable("astrosage")
    for handler in handlers:
        root.addHandler(handler)
    try:
        yield logger
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


def _enable(prefix: str) -> None:
    """Undo what ``logging.config.dictConfig``, which Ray Train uses, does to existing loggers."""
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith(prefix) and isinstance(logger, logging.Logger):
            logger.disabled = False
