"""A run on an MLflow tracking server."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from typing import Any

from astrosage.runs.storage import Storage
from astrosage.train.tracking.identity import Identity
from astrosage.train.tracking.points import Point

log = logging.getLogger("astrosage.train")
EXPERIMENT = "astrosage"
_BAD_CHARACTERS = re.compile(r"[^\w.\-/ :]")
_METRICS_A_REQUEST = 1000
_PARAMETERS_A_REQUEST = 100
_LONGEST_VALUE = 500
_LONGEST_KEY = 250
_STEP = "step"


class MlflowRun:
    """Logs to the server at ``MLFLOW_TRACKING_URI``.

    The experiment is ``MLFLOW_EXPERIMENT_NAME``, by default ``astrosage``; it is made where there
    is none. MLflow cannot take a point back: steps that are done again after a failure keep the
    values that they were first logged with.
    """

    def __init__(self, stage: Storage, run: str, stage_name: str, config: dict[str, Any]) -> None:
        self._run, self._stage_name, self._config = run, stage_name, config
        place = os.environ.get("MLFLOW_TRACKING_URI", "")
        self._identity = Identity(stage, "mlflow", config, place)
        self._client: Any = None
        self._id = ""
        self._done = self._last = -1

    def open(self, after_step: int | None) -> None:
        """See :class:`~astrosage.train.tracking.points.Sink`."""
        from mlflow import MlflowClient

        self._client = MlflowClient()
        self._id = self._found() or self._created()

    def _found(self) -> str | None:
        from mlflow.exceptions import MlflowException

        known = self._identity.read()
        if known is None:
            return None
        try:
            self._client.update_run(known, status="RUNNING")
            self._done = int(self._client.get_run(known).data.metrics.get(_STEP, -1))
        except MlflowException as error:
            log.warning("MLflow's run %s cannot be continued, a new one begins: %s", known, error)
            return None
        return known

    def _created(self) -> str:
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        found = self._client.get_experiment_by_name(experiment)
        number = found.experiment_id if found else self._client.create_experiment(experiment)
        created = self._client.create_run(
            number,
            run_name=f"{self._run}/{self._stage_name}",
            tags={"astrosage.run": self._run, "astrosage.stage": self._stage_name},
        )
        identifier = str(created.info.run_id)
        self._identity.write(identifier)
        self._log_parameters(identifier)
        return identifier

    def _log_parameters(self, identifier: str) -> None:
        from mlflow.entities import Param

        parameters = [
            Param(_name(key), value[:_LONGEST_VALUE]) for key, value in flat(self._config)
        ]
        for i in range(0, len(parameters), _PARAMETERS_A_REQUEST):
            self._client.log_batch(identifier, params=parameters[i : i + _PARAMETERS_A_REQUEST])

    def log(self, points: list[Point]) -> None:
        """See :class:`~astrosage.train.tracking.points.Sink`."""
        from mlflow.entities import Metric

        metrics = []
        for point in points:
            if point.step <= self._done:
                continue
            self._last = point.step
            moment = int(point.time * 1000)
            for tag, value in {_STEP: float(point.step), **point.tags()}.items():
                metrics.append(Metric(_name(tag), value, moment, point.step))
        for i in range(0, len(metrics), _METRICS_A_REQUEST):
            self._client.log_batch(self._id, metrics=metrics[i : i + _METRICS_A_REQUEST])

    def rewind(self, step: int) -> None:
        """See :class:`~astrosage.train.tracking.points.Sink`."""
        self._done = max(self._done, self._last)

    def close(self, finished: bool) -> None:
        """See :class:`~astrosage.train.tracking.points.Sink`."""
        self._client.set_terminated(self._id, status="FINISHED" if finished else "KILLED")


def flat(config: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """A configuration's leaves: ``("zero.stage", "3")``."""
    if isinstance(config, dict):
        for key, value in config.items():
            yield from flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, str(config)


def _name(tag: str) -> str:
    """A name that MLflow takes; a path of one folder at most, as in its file store names are."""
    group, separator, rest = tag.partition("/")
    rest = rest.replace("/", ".").lstrip(".") or "_"
    name = f"{group}{separator}{rest}" if separator else tag
    return _BAD_CHARACTERS.sub("_", name)[:_LONGEST_KEY]
