"""Send files in parallel; the first failure ends the rest, and what is there stays."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

from astroctl.upload.plan import LocalFile
from astroctl.upload.progress import Progress
from astroctl.upload.stores import Store
from astrosage.errors import AstroError, StorageError

WORKERS = 8
_TRIES = 4
_PAUSE_SECONDS = 1.0


def send(
    files: Mapping[str, LocalFile], store: Store, progress: Progress, workers: int = WORKERS
) -> None:
    """Bring files to a store.

    Args:
        files: By their names there.
        store: Where.
        progress: Told of bytes.
        workers: How many files at once.

    Raises:
        AstroError: The first failure that trying again did not mend.
    """
    stop = threading.Event()
    progress.begin(f"uploading {len(files)} file{'s' * (len(files) != 1)}", _total(files))
    pool = ThreadPoolExecutor(workers, thread_name_prefix="upload")
    try:
        # Large ones first: a last large file alone would leave the other workers idle.
        order = sorted(files, key=lambda name: -files[name].size)
        futures: list[Future[None]] = [
            pool.submit(_one, name, files[name], store, progress, stop) for name in order
        ]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        progress.end()


def _one(
    name: str, file: LocalFile, store: Store, progress: Progress, stop: threading.Event
) -> None:
    for attempt in range(1, _TRIES + 1):
        told = _Told(progress, stop)
        try:
            store.put(name, file, told)
            return
        except AstroError as error:
            # Drivers of object stores try again themselves; a cut connection to a pod comes here.
            if not error.retryable or attempt == _TRIES or stop.is_set():
                raise
        told.take_back()
        time.sleep(_PAUSE_SECONDS * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))


class _Told:
    """Bytes of one try, which may turn out not to count; also where a running try is ended."""

    def __init__(self, progress: Progress, stop: threading.Event) -> None:
        self._progress, self._stop, self._sent = progress, stop, 0

    def __call__(self, size: int) -> None:
        if self._stop.is_set():
            raise StorageError("another upload failed, this one is left", "submit again")
        self._sent += size
        self._progress.add(size)

    def take_back(self) -> None:
        self._progress.add(-self._sent)
        self._sent = 0


def _total(files: Mapping[str, LocalFile]) -> int:
    return sum(file.size for file in files.values())
