"""TensorBoard event files in the stage's ``tensorboard/`` folder."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from astrosage.runs.storage import Storage, explained
from astrosage.train.tracking.points import Point

FOLDER = "tensorboard"
_UPLOAD_SECONDS = 5.0
# Each upload is of the whole file; it may take this share of the time at most.
_UPLOAD_SHARE = 0.05


class TensorBoard:
    """Writes event files; each attempt has one of its own.

    What an earlier attempt logged after the checkpoint is hidden by a session mark, which readers
    know, so that nothing is shown twice. On an object store the files are written to a temporary
    folder and uploaded at intervals and at the end.
    """

    def __init__(self, stage: Storage) -> None:
        self._stage = stage
        self._temporary: Path | None = None
        self._uploaded, self._took = time.monotonic(), 0.0
        self._writer: Any = None

    def open(self, after_step: int | None) -> None:
        """See :class:`~astrosage.train.tracking.points.Sink`."""
        local = self._stage.local
        if local is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="astrosage-tensorboard-"))
        self._start(after_step + 1 if after_step else 0)

    def _start(self, purge_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self._folder), purge_step=purge_step)

    @property
    def _folder(self) -> Path:
        if self._temporary is not None:
            return self._temporary
        assert self._stage.local is not None
        return self._stage.local / FOLDER

    def log(self, points: list[Point]) -> None:
        """See :class:`~astrosage.train.tracking.points.Sink`."""
        for point in points:
            for tag, value in point.tags().items():
                self._writer.add_scalar(tag, value, point.step, walltime=point.time)
        self._writer.flush()
        since = time.monotonic() - self._uploaded
        if since > max(_UPLOAD_SECONDS, self._took / _UPLOAD_SHARE):
            self._upload()

    def rewind(self, step: int) -> None:
        """See :class:`~astrosage.train.tracking.points.Sink`."""
        self._writer.close()
        self._start(step + 1)

    def close(self, finished: bool) -> None:
        """See :class:`~astrosage.train.tracking.points.Sink`."""
        self._writer.close()
        self._upload()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _upload(self) -> None:
        if self._temporary is None:
            return
        began = time.monotonic()
        for file in sorted(self._temporary.iterdir()):
            name = f"{FOLDER}/{file.name}"
            with explained(self._stage, "written", name):
                self._stage.fs.put_file(str(file), self._stage.path(name))
        self._uploaded = time.monotonic()
        self._took = self._uploaded - began
