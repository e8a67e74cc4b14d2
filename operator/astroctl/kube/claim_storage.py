"""Run directories on a claim, read and written through the cluster."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from astrosage.errors import NotFoundError
from astrosage.runs.storage import Storage

if TYPE_CHECKING:
    from astroctl.kube.files import ClaimFiles


class ClaimStorage(Storage):
    """A folder of a claim; takes the place of a local or object storage.

    Args:
        files: The claim, which must stay open.
        path: The folder, from the claim's top.
    """

    def __init__(self, files: ClaimFiles, path: str = "") -> None:
        self.local, self._fs, self._files = None, None, files
        self._path = path.strip("/")
        self.uri = f"pvc://{files.claim}/{self._path}".rstrip("/")

    def child(self, *parts: str) -> Storage:
        """The storage of a folder below this one."""
        return ClaimStorage(self._files, self._name("/".join(parts)))

    def exists(self, name: str = "") -> bool:
        """Whether a file or folder of that name is there."""
        return self._files.exists(self._name(name))

    def read_bytes(self, name: str) -> bytes:
        """A whole file."""
        return self._files.read(self._name(name))

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a file so that it is seen whole or not at all."""
        self._files.write(self._name(name), data)

    def names(self, name: str = "") -> list[str]:
        """Sorted names of what is in a folder."""
        return self._files.names(self._name(name))

    def sizes(self, name: str = "") -> dict[str, int]:
        """Bytes of every file below a folder."""
        return self._files.sizes(self._name(name))

    def remove(self, name: str = "") -> None:
        """Delete a file or folder."""
        self._files.remove(self._name(name))

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A local folder to fill, which is copied there when the block ends well."""
        with tempfile.TemporaryDirectory(prefix="astrosage-") as temporary:
            yield Path(temporary)
            self._files.put_tree(Path(temporary), self._name(name))

    def localize(
        self, name: str, cache: Path, wanted: Callable[[str], bool] = lambda file: True
    ) -> Path:
        """A local copy of a folder."""
        if not self.exists(name):
            raise NotFoundError(f"{self.path(name)} does not exist")
        return self._files.get_tree(self._name(name), cache / name, wanted)

    def _name(self, name: str) -> str:
        return "/".join(part for part in (self._path, name) if part)
