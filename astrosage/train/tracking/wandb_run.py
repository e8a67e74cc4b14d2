"""A run on Weights & Biases, online or offline."""

from __future__ import annotations

import os
import secrets
import tempfile
from typing import Any

from astrosage.runs.storage import Storage
from astrosage.train.tracking.identity import Identity
from astrosage.train.tracking.points import Point

PROJECT = "astrosage"
_INIT_SECONDS = 60.0


class WandbRun:
    """Logs to the project ``WANDB_PROJECT``, by default ``astrosage``.

    Offline (``WANDB_MODE=offline``) its files are left in the stage's ``wandb/`` folder, or in
    ``WANDB_DIR``, for ``wandb sync``. W&B takes no point for a step that it has passed: steps that
    are done again after a failure keep the values that they were first logged with.
    """

    def __init__(self, stage: Storage, run: str, stage_name: str, config: dict[str, Any]) -> None:
        self._run, self._stage_name, self._config = run, stage_name, config
        self._stage = stage
        self._project = os.environ.get("WANDB_PROJECT") or PROJECT
        self._identity = Identity(stage, "wandb", config, self._project)
        self._wandb: Any = None

    def open(self, after_step: int | None) -> None:
        """See :class:`~astrosage.train.tracking.points.Sink`."""
        import wandb

        known = self._identity.read()
        identifier = known or secrets.token_hex(8)
        self._wandb = wandb.init(
            project=self._project,
            id=identifier,
            resume="allow" if known else None,
            name=f"{self._run}/{self._stage_name}",
            group=self._run,
            job_type="train",
            config=self._config,
            dir=self._folder(),
            reinit="create_new",
            settings=wandb.Settings(
                console="off", disable_git=True, save_code=False, init_timeout=_INIT_SECONDS
            ),
        )
        if known is None:
            self._identity.write(identifier, self._wandb.url)

    def _folder(self) -> str:
        given = os.environ.get("WANDB_DIR")
        if given:
            return given
        if self._stage.local is not None:
            return str(self._stage.local)
        return tempfile.mkdtemp(prefix="astrosage-wandb-")

    def log(self, points: list[Point]) -> None:
        """See :class:`~astrosage.train.tracking.points.Sink`."""
        for point in points:
            if point.step >= self._wandb.step:
                self._wandb.log(point.tags(), step=point.step)

    def rewind(self, step: int) -> None:
        """See :class:`~astrosage.train.tracking.points.Sink`; W&B cannot."""

    def close(self, finished: bool) -> None:
        """See :class:`~astrosage.train.tracking.points.Sink`."""
        self._wandb.finish(exit_code=0 if finished else 1)
