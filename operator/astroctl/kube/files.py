"""Files on a PersistentVolumeClaim, reached through the cluster."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from queue import Empty, LifoQueue
from typing import TYPE_CHECKING, Any

from astroctl.kube import claim_pod
from astroctl.kube.client import Kube
from astroctl.kube.errors import ApiError, Missing
from astroctl.kube.exec import ExecCut
from astroctl.kube.session import Session, fetch
from astroctl.render.settings import Settings
from astroctl.render.storage import STORAGE_MOUNT
from astrosage.errors import ClusterError, NotFoundError, StorageError

if TYPE_CHECKING:
    from astroctl.kube.claim_storage import ClaimStorage
    from astroctl.upload.plan import LocalFile

BLOCK_BYTES = 4 * 2**20
_LIFE_SECONDS = 4 * 3600
_TRIES = 4


class ClaimFiles(AbstractContextManager["ClaimFiles"]):
    """A claim's files, while the block lasts.

    A pod is made for it that mounts the claim, and removed at the end, however the block ends. A
    cut connection, or a pod that is lost, is replaced, and what was under way goes on. May be used
    by several threads. Names are relative to the top of the claim.

    Args:
        kube: The cluster.
        namespace: The claim's.
        claim: Its name.
        settings: The installation's: image, user.
        reuse: Go through a running pod of a job, if one has the claim, rather than a new pod; not
            for much, since it shares that pod's memory and CPU.
        timeout: Seconds that the pod may take to start.
        say: Told what is waited for.

    Raises:
        NotFoundError: If there is no such claim.
        ClusterError: Saying why the pod does not run.
    """

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        claim: str,
        settings: Settings | None = None,
        *,
        reuse: bool = True,
        timeout: float = 300.0,
        say: Callable[[str], None] = lambda message: None,
    ) -> None:
        self.claim = claim
        self._kube, self._namespace = kube, namespace
        self._settings, self._reuse = settings or Settings(), reuse
        self._timeout, self._say = timeout, say
        self._pod: claim_pod.ClaimPod | None = None
        self._place: tuple[str, str] | None = None
        self._free: LifoQueue[Session] = LifoQueue()
        self._lock = threading.Lock()

    def __enter__(self) -> ClaimFiles:
        self._connect()
        return self

    def __exit__(self, *error: object) -> None:
        self._close_free()
        if self._pod is not None:
            self._pod.remove()

    def exists(self, name: str = "") -> bool:
        """Whether a file or folder is there."""
        return self._ask("stat", name=name)[0]["type"] is not None

    def names(self, name: str = "") -> list[str]:
        """Sorted names of what is in a folder; empty where there is none."""
        found: list[str] = json.loads(self._ask("names", name=name)[1])
        return found

    def sizes(self, name: str = "") -> dict[str, int]:
        """Bytes of each file below a folder, by its path from there."""
        found: dict[str, int] = json.loads(self._ask("sizes", name=name)[1])
        return found

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """A file's content, or a piece of it.

        Raises:
            NotFoundError: If there is none.
        """
        found = bytearray()
        while length is None or len(found) < length:
            ask = BLOCK_BYTES if length is None else min(BLOCK_BYTES, length - len(found))
            _, data = self._ask("read", name=name, offset=offset + len(found), length=ask)
            found += data
            if len(data) < ask:
                break
        return bytes(found)

    def write(self, name: str, data: bytes) -> None:
        """Write a file so that it is seen whole or not at all; any size that fits in memory."""
        sha256 = hashlib.sha256(data).hexdigest()
        if len(data) > BLOCK_BYTES:
            self._append(name, len(data), sha256, lambda at: _cut(data, at))
        else:
            self._ask("write", data, name=name, sha256=sha256)

    def put(self, name: str, file: LocalFile, sent: Callable[[int], None]) -> None:
        """Bring a local file, going on where an earlier try was cut; see ``upload.stores``."""
        from astroctl.upload import stores

        if file.size <= BLOCK_BYTES:
            self._ask("write", stores.read(file), name=name, sha256=file.sha256)
            sent(file.size)
            return
        try:
            self._append(name, file.size, file.sha256, lambda at: _blocks(file.path, at), sent)
        except StorageError:
            if not stores.unchanged(file):
                raise stores.changed(file) from None
            raise

    def put_tree(self, folder: Path, name: str) -> None:
        """Copy a local folder there; a ``manifest.json`` comes last."""
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        for path in sorted(files, key=lambda p: p.name == "manifest.json"):
            size, target = path.stat().st_size, f"{name}/{path.relative_to(folder).as_posix()}"
            if size <= BLOCK_BYTES:
                self.write(target, path.read_bytes())
                continue
            with path.open("rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            self._append(target, size, sha256, lambda at, path=path: _blocks(path, at))  # type: ignore[misc]

    def get_tree(
        self, name: str, folder: Path, wanted: Callable[[str], bool] = lambda file: True
    ) -> Path:
        """Copy a folder from there; whole files that are here with the right size are kept."""
        for file, size in self.sizes(name).items():
            target = folder / file
            if not wanted(file) or (target.exists() and target.stat().st_size == size):
                continue
            for attempt in _tries():
                with attempt, self._session() as session:
                    fetch(session, f"{name}/{file}", target, size, BLOCK_BYTES)
                    break
        return folder

    def remove(self, name: str) -> None:
        """Delete a file or folder; nothing happens where there is none."""
        self._ask("remove", name=name)

    def free_bytes(self) -> int:
        """Space left on the volume."""
        return int(self._ask("hello")[0]["free"])

    def below(self, path: str) -> _Below:
        """A folder of it, for uploads."""
        return _Below(self, path)

    def storage(self, path: str) -> ClaimStorage:
        """A folder of it as the storage of run directories."""
        from astroctl.kube.claim_storage import ClaimStorage

        return ClaimStorage(self, path)

    def _append(
        self,
        name: str,
        size: int,
        sha256: str,
        blocks: Callable[[int], Iterator[bytes]],
        sent: Callable[[int], None] = lambda n: None,
    ) -> None:
        """A large file in pieces, from where the part of an earlier try ends."""
        for retry in (True, False):
            with self._session() as session:
                answer, _ = session.call("begin", name=name, sha256=sha256, bytes=size)
                offset = int(answer["offset"])
                sent(offset)
                for block in blocks(offset):
                    session.call("append", block)
                    sent(len(block))
                answer, _ = session.call("commit", name=name, sha256=sha256)
            if not answer.get("damaged"):
                return
            if not retry:
                break
            sent(-size)
        raise StorageError(f"{self.claim}: {name} arrived damaged twice", "submit again")

    def _ask(self, do: str, payload: bytes = b"", **fields: Any) -> tuple[dict[str, Any], bytes]:
        """One request that may be repeated."""
        for attempt in _tries():
            with attempt, self._session() as session:
                return session.call(do, payload, **fields)
        raise AssertionError("the last try raises")

    @contextmanager
    def _session(self) -> Iterator[Session]:
        """A connection of one's own; it is kept for others unless it broke."""
        try:
            session = self._free.get_nowait()
        except Empty:
            session = self._open()
        try:
            yield session
        except NotFoundError:
            self._free.put(session)
            raise
        except BaseException as error:
            session.close()
            if isinstance(error, ClusterError):  # the others are likely to be cut as well
                self._close_free()
            raise
        self._free.put(session)

    def _close_free(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                self._free.get_nowait().close()

    def _open(self) -> Session:
        with self._lock:
            pod, container = self._connect()
        try:
            return Session(self._kube, self._namespace, pod, container, STORAGE_MOUNT)
        except (Missing, ApiError) as error:
            if isinstance(error, ApiError) and not error.retryable:
                raise
            if self._pod is None:
                self._place = None  # a job's pod that is gone; the next try finds or makes another
            raise ExecCut(error.message, error.hint) from None

    def _connect(self) -> tuple[str, str]:
        """A pod that runs, and its container; the ones before if they live."""
        if self._place is not None and (self._pod is None or self._pod.lives()):
            return self._place
        if self._reuse and self._place is None:
            self._place = claim_pod.with_storage(self._kube, self._namespace, self.claim)
            if self._place is not None:
                return self._place
        if self._pod is not None:
            self._pod.remove()
        self._pod = claim_pod.ClaimPod(
            self._kube,
            self._namespace,
            self.claim,
            self._settings,
            seconds=_LIFE_SECONDS,
            timeout=self._timeout,
            say=self._say,
        )
        self._pod.start()
        self._place = (self._pod.name, claim_pod.COMPONENT)
        return self._place


class _Below:
    """A folder of a claim, as uploads need it."""

    def __init__(self, files: ClaimFiles, path: str) -> None:
        self._files, self._path = files, path

    def _name(self, name: str) -> str:
        return f"{self._path}/{name}" if self._path else name

    def sizes(self, name: str) -> dict[str, int]:
        """Bytes of each file below a folder."""
        return self._files.sizes(self._name(name))

    def put(self, name: str, file: LocalFile, sent: Callable[[int], None]) -> None:
        """Bring a file."""
        self._files.put(self._name(name), file, sent)


def _tries() -> Iterator[AbstractContextManager[None]]:
    """Blocks of which each but the last forgives a cut connection, after a pause."""

    @contextmanager
    def forgiving(number: int) -> Iterator[None]:
        try:
            yield
        except ClusterError as error:
            if not error.retryable or number == _TRIES - 1:
                raise
            time.sleep(0.5 * 2**number)

    for number in range(_TRIES):
        yield forgiving(number)


def _blocks(path: Path, offset: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(offset)
        while block := file.read(BLOCK_BYTES):
            yield block


def _cut(data: bytes, offset: int) -> Iterator[bytes]:
    for start in range(offset, len(data), BLOCK_BYTES):
        yield data[start : start + BLOCK_BYTES]
