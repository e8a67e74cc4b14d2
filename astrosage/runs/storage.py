"""Where run directories live: a local disk, or an object store through fsspec.

A file appears whole or not at all: on a disk it is written next to its final name, flushed and
renamed; on an object store it is uploaded whole.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from astrosage.errors import AstroError, NotFoundError, StorageError
from astrosage.runs.manifest import digest

_SCHEMES = ("s3", "gs", "gcs", "az", "abfs", "memory")


class Storage:
    """A folder on a local disk or object store.

    Args:
        uri: A local path, or ``s3://``, ``gs://``, ``az://`` with bucket and prefix.

    Raises:
        StorageError: For a scheme that is not supported here.
    """

    def __init__(self, uri: str | Path) -> None:
        text = str(uri)
        scheme, sep, _ = text.partition("://")
        if sep and scheme not in (*_SCHEMES, "file"):
            raise StorageError(
                f"storage {text}: scheme `{scheme}` cannot be used here",
                "use a local path, s3://, gs:// or az:// (pvc:// works on Kubernetes only)",
            )
        self.local: Path | None = None
        self._fs: Any = None
        if not sep or scheme == "file":
            self.local = Path(text.removeprefix("file://")).absolute()
            self.uri = str(self.local)
        else:
            self.uri = text.rstrip("/")

    def __repr__(self) -> str:
        return f"Storage({self.uri!r})"

    @property
    def fs(self) -> Any:
        """The fsspec file system; made when first needed, since its drivers are slow to import."""
        if self._fs is None:
            import fsspec

            try:
                self._fs = fsspec.core.url_to_fs(self.uri)[0]
            except ImportError as error:
                raise StorageError(
                    f"storage {self.uri}: {error}", "install the driver it names, with pip"
                ) from None
        return self._fs

    def child(self, *parts: str) -> Storage:
        """The storage of a folder below this one."""
        if self.local is not None:
            return Storage(self.local.joinpath(*parts))
        child = Storage("/".join([self.uri, *parts]))
        child._fs = self._fs
        return child

    def path(self, name: str = "") -> str:
        """The full path or URI of a file in this folder."""
        if self.local is not None:
            return str(self.local / name) if name else str(self.local)
        return f"{self.uri}/{name}" if name else self.uri

    def exists(self, name: str = "") -> bool:
        """Whether a file or folder of that name is there."""
        if self.local is not None:
            return (self.local / name).exists()
        with explained(self, "read"):
            self.fs.invalidate_cache()
            return bool(self.fs.exists(self.path(name)))

    def read_bytes(self, name: str) -> bytes:
        """A whole file.

        Raises:
            NotFoundError: Where there is none.
        """
        with explained(self, "read", name):
            if self.local is not None:
                return (self.local / name).read_bytes()
            return bytes(self.fs.cat_file(self.path(name)))

    def read_json(self, name: str) -> Any:
        """A whole JSON file."""
        raw = self.read_bytes(name)
        try:
            return json.loads(raw)
        except ValueError:
            raise StorageError(
                f"{self.path(name)} is not valid JSON ({len(raw)} bytes)",
                "it was changed from outside; restore or delete it",
            ) from None

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a file so that it is seen whole or not at all."""
        with explained(self, "written", name):
            if self.local is None:
                self.fs.pipe_file(self.path(name), data)
                return
            target = self.local / name
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
            try:
                with temporary.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)

    def place(self, file: Path, name: str) -> None:
        """Give a finished local file its place here; it is moved or uploaded, and then gone."""
        with explained(self, "written", name):
            if self.local is None:
                self.fs.put_file(str(file), self.path(name))
                file.unlink()
                return
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
            file.replace(self.local / name)

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file atomically."""
        self.write_bytes(name, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())

    def names(self, name: str = "") -> list[str]:
        """Sorted names of what is in a folder; empty where there is none."""
        with explained(self, "read", name):
            if self.local is not None:
                folder = self.local / name
                return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
            self.fs.invalidate_cache()
            folder = self.fs._strip_protocol(self.path(name)).rstrip("/")
            try:
                listed = [str(p).rstrip("/") for p in self.fs.ls(folder, detail=False)]
            except FileNotFoundError:
                return []
            # Some tools mark a folder by an empty object of its name, which lists itself.
            return sorted({p.rsplit("/", 1)[-1] for p in listed if p != folder})

    def remove(self, name: str = "") -> None:
        """Delete a file or folder; nothing happens where there is none."""
        with explained(self, "deleted", name):
            if self.local is None:
                if self.fs.exists(self.path(name)):
                    self.fs.rm(self.path(name), recursive=True)
                return
            target = self.local / name
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A local folder to fill; it becomes ``name`` when the block ends well, else it is gone.

        An earlier ``name`` is replaced. On object stores the manifest, whose presence makes the
        rest valid, is uploaded last.
        """
        if self.local is not None:
            with self._writing_locally(self.local / name) as folder:
                yield folder
            return
        with tempfile.TemporaryDirectory(prefix="astrosage-") as temporary:
            folder = Path(temporary)
            with filling(folder, str(folder)):
                yield folder
            with explained(self, "written", name):
                files = sorted(p for p in folder.rglob("*") if p.is_file())
                files.sort(key=lambda p: p.name == "manifest.json")
                for file in files:
                    self.fs.put_file(
                        str(file), self.path(f"{name}/{file.relative_to(folder).as_posix()}")
                    )

    @contextmanager
    def _writing_locally(self, target: Path) -> Iterator[Path]:
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
        with explained(self, "written", target.name):
            temporary.mkdir(parents=True)
        try:
            with filling(temporary, str(target)):
                yield temporary
            with explained(self, "written", target.name):
                if target.exists():
                    shutil.rmtree(target)
                temporary.replace(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def sizes(self, name: str = "") -> dict[str, int]:
        """Bytes of every file below a folder, by its path from there; empty where there is none."""
        if self.local is not None:
            root = self.local / name
            files = (p for p in root.rglob("*") if p.is_file())
            return {p.relative_to(root).as_posix(): p.stat().st_size for p in files}
        return {file: int(facts["size"]) for file, facts in self._found(name).items()}

    def localize(
        self, name: str, cache: Path, wanted: Callable[[str], bool] = lambda file: True
    ) -> Path:
        """A local folder with the content of ``name``: itself on a disk, a copy elsewhere.

        A copy is made once: it is kept under a name that changes with what is there, so that
        processes which ask at the same time, or again, get one whole copy.

        Args:
            name: A folder.
            cache: Where copies are kept.
            wanted: Which of its files are copied, by their paths from ``name``.

        Raises:
            NotFoundError: If there is nothing.
        """
        if self.local is not None:
            return self.local / name
        found = {f: facts for f, facts in self._found(name).items() if wanted(f)}
        if not found:
            raise NotFoundError(f"{self.path(name)} does not exist, or has no fitting files")
        identity = [[f, facts["size"], _version(facts)] for f, facts in sorted(found.items())]
        identity_hash = digest([self.path(name), identity])[:16]
        target = cache / f"{name.replace('/', '-')}-{identity_hash}"
        with _one_at_a_time(str(target)), explained(self, "copied", name):
            if not target.is_dir():
                self._copy(found, target)
        return target

    def _found(self, name: str) -> dict[str, dict[str, Any]]:
        """What a store says of every file below a folder, by its path from there."""
        with explained(self, "read", name):
            self.fs.invalidate_cache()
            root = self.fs._strip_protocol(self.path(name)).rstrip("/") + "/"
            try:
                found = self.fs.find(root, detail=True)
            except FileNotFoundError:
                return {}
        return {
            str(path).removeprefix(root): dict(facts)
            for path, facts in found.items()
            if facts["type"] == "file" and str(path).startswith(root) and not path.endswith("/")
        }

    def _copy(self, found: dict[str, dict[str, Any]], target: Path) -> None:
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            for file in found:
                (temporary / file).parent.mkdir(parents=True, exist_ok=True)
            self.fs.get(
                [str(facts["name"]) for facts in found.values()],
                [str(temporary / file) for file in found],
            )
            for file, facts in found.items():
                size = (temporary / file).stat().st_size
                if size != facts["size"]:
                    raise OSError(f"{file}: {size} of {facts['size']} bytes came")
            try:
                temporary.rename(target)
            except OSError as error:  # another machine was quicker, on a cache they share
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def check_writable(self) -> None:
        """Try to write and delete a small file.

        Raises:
            StorageError: Saying what stands in the way.
        """
        probe = f".astrosage-probe-{uuid.uuid4().hex[:8]}"
        self.write_bytes(probe, b"probe")
        self.remove(probe)


@contextmanager
def explained(storage: Storage, what: str, name: str = "") -> Iterator[None]:
    """Turn errors of disks and object stores into errors that say what to do."""
    path = storage.path(name)
    try:
        yield
    except FileNotFoundError as error:
        if storage.local is None and what == "written":
            raise StorageError(
                f"{path} cannot be written: {error}", "make the bucket first, or mend its name"
            ) from None
        raise NotFoundError(f"{path} does not exist") from None
    except OSError as error:
        raise StorageError(
            f"{path} cannot be {what}: {os_reason(error)}", os_hint(error, path)
        ) from error
    except AstroError:
        raise
    except Exception as error:  # each store's driver raises a family of its own
        if storage.local is not None:
            raise
        raise StorageError(
            f"{path} cannot be {what}: {type(error).__name__}: {error}",
            "check the address, the credentials (environment, profile or service account) and the "
            "connection",
        ) from error


def _version(facts: dict[str, Any]) -> str:
    """What changes when a file is replaced, in the words of its store."""
    names = ("ETag", "etag", "md5Hash", "content_md5", "LastModified", "updated", "created")
    return next((str(facts[n]) for n in names if facts.get(n)), "")


@contextmanager
def _one_at_a_time(name: str) -> Iterator[None]:
    """Let one process of this machine in; the kernel frees the lock when its holder dies."""
    key = hashlib.sha256(name.encode()).hexdigest()[:24]
    path = Path(tempfile.gettempdir()) / f"astrosage-{os.getuid()}-{key}.lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def filling(folder: Path, path: str) -> Iterator[None]:
    """Explain errors of the folder that is being filled; a block's other errors are its own."""
    try:
        yield
    except OSError as error:
        inside = isinstance(error.filename, str) and Path(error.filename).is_relative_to(folder)
        if not inside and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StorageError(
            f"{path} cannot be written: {os_reason(error)}", os_hint(error, path)
        ) from error


def os_reason(error: OSError) -> str:
    """The operating system's own words for what went wrong."""
    return error.strerror or str(error) or type(error).__name__


def os_hint(error: OSError, path: str) -> str:
    """What a person can do about it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free space there or choose another `spec.storage`, then `astroctl resume`"
    unusable = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
    if error.errno in unusable:
        return "choose a `spec.storage` that you may write to, or mend the folder's rights"
    return f"check that {path} can be reached and written"
