"""Where files are brought: an object store, or (elsewhere) a claim through the cluster."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from typing import Protocol

from astroctl.upload.plan import LocalFile
from astroctl.upload.s3_parts import PartUpload
from astrosage.errors import DataError, StorageError
from astrosage.runs.storage import Storage, explained

Sent = Callable[[int], None]
# Up to here a file is sent in one request, out of memory.
WHOLE_BYTES = 16 * 2**20


class Store(Protocol):
    """The storage of a job, as far as uploading needs it."""

    def sizes(self, name: str) -> dict[str, int]:
        """Bytes of each whole file below a folder, by its path from there."""

    def put(self, name: str, file: LocalFile, sent: Sent) -> None:
        """Bring a file; it is there whole, with the planned content, or not at all.

        Args:
            name: Below the storage.
            file: The local file.
            sent: Told of bytes as they go; what was there from an earlier try counts too.

        Raises:
            DataError: If the local file has changed since it was planned.
            StorageError: If it cannot be written.
        """


class ObjectStore:
    """S3, Google Cloud Storage, Azure: objects appear whole, and each part is checked on its way.

    Args:
        storage: The job's storage.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def sizes(self, name: str) -> dict[str, int]:
        """Bytes of each file below a folder."""
        return self._storage.sizes(name)

    def put(self, name: str, file: LocalFile, sent: Sent) -> None:
        """Bring a file: in one request if it is small, else in parts."""
        if file.size <= WHOLE_BYTES:
            data = read(file)
            self._storage.write_bytes(name, data)
            sent(len(data))
        elif self._storage.uri.startswith("s3://"):
            with explained(self._storage, "written", name):
                PartUpload(self._storage.fs, self._storage.path(name), file).run(sent)
        else:
            self._put_stream(name, file, sent)
        self._check(name, file)

    def _put_stream(self, name: str, file: LocalFile, sent: Sent) -> None:
        """Through the driver, in its own parts."""
        from fsspec.callbacks import Callback

        class Told(Callback):  # type: ignore[misc]
            def relative_update(self, inc: int = 1) -> None:
                sent(inc)

        with explained(self._storage, "written", name):
            self._storage.fs.put_file(str(file.path), self._storage.path(name), callback=Told())
        if not unchanged(file):
            self._storage.remove(name)
            raise changed(file)

    def _check(self, name: str, file: LocalFile) -> None:
        folder, _, last = name.rpartition("/")
        with explained(self._storage, "read", name):
            self._storage.fs.invalidate_cache()
            size = self._storage.fs.info(self._storage.path(name))["size"]
        if size != file.size:
            with contextlib.suppress(StorageError):
                self._storage.remove(name)
            raise StorageError(
                f"{self._storage.path(folder)}: {last} has {size} bytes after the upload, "
                f"{file.size} were sent",
                "submit again",
            )


def read(file: LocalFile) -> bytes:
    """A small file's content.

    Raises:
        DataError: If it is not the planned one.
    """
    try:
        data = file.path.read_bytes()
    except OSError as error:
        raise DataError(f"{file.path} cannot be read: {error.strerror}", "mend that") from None
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise changed(file)
    return data


def unchanged(file: LocalFile) -> bool:
    """Whether a file still looks as it did when it was planned."""
    facts = file.path.stat()
    return (facts.st_size, facts.st_mtime_ns) == (file.size, file.modified)


def changed(file: LocalFile) -> DataError:
    """The error for a file that is not what it was."""
    return DataError(
        f"{file.path} changed while it was brought along", "wait until it is written, submit again"
    )
