"""What astroctl keeps on this machine: one private folder, files replaced whole, one lock.

``ASTROCTL_HOME`` (default ``~/.astrosage``) holds the local cluster's state and token, the registry
of runs and the keys of served models. Secrets are files of mode 0600 in a folder of mode 0700.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from astrosage.errors import StorageError


def home() -> Path:
    """The folder, made where it is missing.

    Raises:
        StorageError: If it cannot be made.
    """
    folder = Path(os.environ.get("ASTROCTL_HOME") or Path.home() / ".astrosage")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be made: {error.strerror}", "set ASTROCTL_HOME to a writable folder"
        ) from None
    return folder


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically; only its owner may read it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:  # mkstemp makes it 0600
            file.write(text)
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror}",
            "free space or rights there, or set ASTROCTL_HOME to another folder",
        ) from None


def is_private(path: Path) -> bool:
    """Whether nobody but the owner may read or write the file."""
    return not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)


def read_json(name: str) -> dict[str, Any]:
    """A state file's content; empty where there is none.

    Raises:
        StorageError: If the file is not JSON.
    """
    path = home() / name
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        raise StorageError(
            f"{path} is not valid JSON", "it was changed from outside; move it away"
        ) from None
    return value if isinstance(value, dict) else {}


def write_json(name: str, value: dict[str, Any]) -> None:
    """Replace a state file."""
    write_private(home() / name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock between processes; the kernel frees it when its holder dies."""
    with (home() / f".{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
