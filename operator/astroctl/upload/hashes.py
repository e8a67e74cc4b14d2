"""SHA-256 of local files, read once for as long as a file stays what it is."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from astroctl.home import locked, read_json, write_json
from astrosage.errors import DataError

_FILE = "hashes.json"
_KEPT = 20_000
_BLOCK = 1 << 20
# Small files are quicker to read than to remember, and a file that was changed a moment ago may be
# changed again within the clock's resolution.
_REMEMBERED_BYTES = 1 << 20
_SETTLED_NANOSECONDS = 2 * 10**9


class Hashes:
    """Hashes of large files, kept in astroctl's folder by path, size, time and inode.

    Args:
        persistent: Whether to read and write that folder.
    """

    def __init__(self, *, persistent: bool = True) -> None:
        self._persistent = persistent
        self._known: dict[str, str] = read_json(_FILE) if persistent else {}
        self._new: dict[str, str] = {}

    def of(self, path: Path, read: Callable[[int], None] = lambda n: None) -> tuple[int, int, str]:
        """``(size, time of change in ns, SHA-256)`` of a file.

        Args:
            path: The file.
            read: Told of the bytes as they are read, or all at once if the hash is known.

        Raises:
            DataError: If it cannot be read, or changes meanwhile.
        """
        try:
            facts = path.stat()
            key = f"{path.resolve()}|{facts.st_size}|{facts.st_mtime_ns}|{facts.st_ino}"
            found = self._known.get(key)
            if found is not None:
                read(facts.st_size)
                return facts.st_size, facts.st_mtime_ns, found
            found = _sha256(path, read)
            after = path.stat()
        except OSError as error:
            raise DataError(
                f"{path} cannot be read: {error.strerror}", "check the file's rights"
            ) from None
        if (after.st_size, after.st_mtime_ns) != (facts.st_size, facts.st_mtime_ns):
            raise DataError(
                f"{path} changed while it was read", "wait until it is written, then submit again"
            )
        settled = time.time_ns() - facts.st_mtime_ns > _SETTLED_NANOSECONDS
        if facts.st_size >= _REMEMBERED_BYTES and settled:
            self._new[key] = found
        return facts.st_size, facts.st_mtime_ns, found

    def save(self) -> None:
        """Keep what was learnt."""
        if not self._new or not self._persistent:
            return
        with locked("hashes"):
            merged = {**read_json(_FILE), **self._new}
            write_json(_FILE, dict(list(merged.items())[-_KEPT:]))
        self._new = {}


def _sha256(path: Path, read: Callable[[int], None]) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
            read(len(block))
    return found.hexdigest()
