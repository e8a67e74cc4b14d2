"""What an interrupted prepare stage has made, kept so that the next run of it can go on.

In a folder beside the shards-to-be, of one stage key and one version of this code::

    .shards.half/
        identity            what it belongs to
        000007.state        the last checkpoint: the account, how far each file below counts, …
        000007.train        documents of a split that wait to be packed, since the one before
        train/ validation/  finished shards
        seen ngrams … waiting   what deduplication and the mixture keep on disk

A state is written next to its name and renamed once all that it speaks of is stored, so the last
one is true whenever the process ends. What came after it is made again, the same way.

The folder lies on a disk. Where a run is stored in an object store, it is under the temporary
folder: a stage goes on after an interruption on the same machine, and starts over on another.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import logging
import os
import pickle
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from astrosage import __version__
from astrosage.errors import AstroError, ConflictError
from astrosage.runs.storage import Storage, filling

log = logging.getLogger(__name__)

SECONDS = 60.0
"""Between checkpoints; more where one takes over a thirtieth of that."""
_SHARE = 1 / 30
_FOLDER, _IDENTITY, _ENDING = ".shards.half", "identity", ".state"
_PATIENCE_SECONDS = 120.0  # for an earlier process that is still ending


@contextmanager
def half_made(storage: Storage, key: str) -> Iterator[Path]:
    """The folder for unfinished work, with what an interrupted run of the same has left in it.

    It goes when the block ends well, or with an error that trying again would only repeat.

    Args:
        storage: The stage's folder.
        key: The stage's key.

    Raises:
        ConflictError: If another process works in it and does not end.
        StorageError: If its disk is full; what was stored stays.
    """
    folder = _folder(storage)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        _prepare(folder, f"{key} {_code()}")
        if storage.local is None:
            log.info("unfinished shards are in %s, on this machine only", folder)
        with filling(folder, str(folder)):
            try:
                yield folder
            except AstroError as error:
                if not error.retryable:
                    _discard(folder)
                raise
        _discard(folder)


class Checkpoints:
    """Those of a folder.

    Args:
        folder: Of :func:`half_made`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = max((int(file.stem) + 1 for file in self._files()), default=0)
        self._due = time.monotonic() + SECONDS
        self._asked: float | None = None
        self._stored: dict[Path, int] = {}

    def is_due(self) -> bool:
        """Whether it is time for the next one."""
        now = time.monotonic()
        if now < self._due:
            return False
        self._asked = self._asked or now
        return True

    def last(self) -> Any:
        """The state that was stored last; None if none was."""
        files = self._files()
        return load(files[-1]) if files else None

    def store(self, state: Callable[[int], Any]) -> None:
        """Store one more, in place of the last.

        Args:
            state: Given its number, stores what is large beside it and returns the rest.
        """
        file = self._folder / f"{self._number:06d}{_ENDING}"
        temporary = file.with_suffix(".tmp")
        with temporary.open("wb") as opened:
            pickle.dump(state(self._number), opened, pickle.HIGHEST_PROTOCOL)
        self._store_all()
        temporary.replace(file)
        _store(self._folder)
        for known in self._files()[:-1]:
            known.unlink()
        self._number += 1
        ended = time.monotonic()
        # Workers have had nothing new to do since it was asked for.
        taken = ended - (self._asked or ended)
        self._due = ended + (max(SECONDS, taken / _SHARE) if SECONDS else 0)
        self._asked = None

    def _store_all(self) -> None:
        """Have the disk take all that is new, before anything speaks of it."""
        for path in self._folder.rglob("*"):
            changed = path.stat().st_mtime_ns
            if self._stored.get(path) != changed:
                _store(path)
                self._stored[path] = changed

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob(f"*{_ENDING}"))


def load(file: Path) -> Any:
    """What was pickled into a file; anything but this program's data is refused.

    Raises:
        UnpicklingError: If it holds something else.
    """
    with file.open("rb") as opened:
        return _Unpickler(opened).load()


class _Unpickler(pickle.Unpickler):
    """Makes plain data, arrays and this package's classes, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name) if _is_known(module, name) else None
        if found is None or (module.startswith("astrosage.") and not isinstance(found, type)):
            raise pickle.UnpicklingError(f"{module}.{name} is not expected here")
        return found


_KNOWN = {
    "builtins": ("set", "frozenset"),
    "collections": ("Counter",),
    "datetime": ("date",),
    "numpy": ("ndarray", "dtype"),
    "numpy._core.multiarray": ("_reconstruct", "scalar"),
    "numpy._core.numeric": ("_frombuffer",),
    "pathlib": ("PosixPath",),
}


def _is_known(module: str, name: str) -> bool:
    return module.startswith("astrosage.") or name in _KNOWN.get(module, ())


def _folder(storage: Storage) -> Path:
    if storage.local is not None:
        return storage.local / _FOLDER
    name = hashlib.sha256(storage.uri.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"astrosage-{os.getuid()}" / f"{name}{_FOLDER}"


def _prepare(folder: Path, identity: str) -> None:
    """Empty the folder unless it belongs to this very work."""
    for old in folder.parent.glob(".shards.*.tmp"):  # of a run that ended while it was giving them
        shutil.rmtree(old, ignore_errors=True)
    known = folder / _IDENTITY
    if known.is_file() and known.read_text() == identity:
        return
    known.unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    known.write_text(identity)


def _discard(folder: Path) -> None:
    """Delete the folder, and first what would have the rest of it taken for whole."""
    (folder / _IDENTITY).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The folder, made if need be, for one process alone; a killed one lets go of it."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        folder.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        try:
            if _is_free(handle) and _is_there(handle, folder):
                yield
                return
        finally:
            os.close(handle)
        if time.monotonic() > until:
            raise ConflictError(
                f"{folder} is in use by another process that prepares the same stage",
                "wait until it has ended, or end it, then `astroctl resume`",
            )
        time.sleep(0.5)


def _is_free(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        log.warning("the run's file system has no locks: start no stage of it twice")
    return True


def _is_there(handle: int, folder: Path) -> bool:
    """Whether it is still the folder, not one that was deleted meanwhile."""
    return folder.is_dir() and os.fstat(handle).st_ino == folder.stat().st_ino


@cache
def _code() -> str:
    """What the result depends on beside the key: this code and the tokenizers library."""
    from importlib.metadata import version

    whole = io.BytesIO()
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        whole.write(file.read_bytes())
    code = hashlib.sha256(whole.getvalue()).hexdigest()[:16]
    return f"{__version__} {code} {version('tokenizers')}"


def _store(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
