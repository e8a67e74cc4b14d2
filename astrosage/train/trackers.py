"""A training's metrics to all the places that follow it, none of which can hold it up."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any, cast

from astrosage.runs.directory import StageDirectory
from astrosage.spec.train import Tracker
from astrosage.train.tracking.points import Point, Sink

log = logging.getLogger("astrosage.train")
Action = Callable[[Sink], None]
_WAITING = 4096
_AT_ONCE = 256
_CLOSE_SECONDS = 60.0


class Trackers:
    """Fans metrics out to Ray's Prometheus endpoint and to the trackers of the spec.

    Each place has a thread of its own, so that a slow server costs training no time; one that
    fails is warned of once and dropped. Only rank 0 should have one.

    Args:
        tracking: The stage's trackers; see
            :func:`astrosage.train.tracking.check.check`, which says beforehand what they lack.
        directory: The stage's part of the run directory.
        run: The run's name.
        stage: The stage's name.
        config: What MLflow and W&B show as the run's configuration, as plain data.
        after_step: The checkpoint's step that training goes on from; what was logged after it is
            hidden or not repeated. None or 0: training begins.
    """

    def __init__(
        self,
        tracking: Sequence[Tracker],
        directory: StageDirectory,
        run: str,
        stage: str,
        config: dict[str, Any],
        *,
        after_step: int | None = None,
    ) -> None:
        makers = _makers(directory, run, stage, config)
        names: list[str] = ["ray", *dict.fromkeys(tracking)]
        self._followers = [_Follower(name, makers[name], after_step) for name in names]

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Pass on the values of a step, under their names in metrics.jsonl.

        Objects of numbers (``seconds``, ``validationLosses``) are spread out; what is not a number
        is left out.
        """
        point = Point(step, time.time(), dict(values))
        for follower in self._followers:
            follower.put(point)

    def rewind(self, step: int) -> None:
        """Say that training goes back to an earlier step of this process, with its next step."""
        for follower in self._followers:
            follower.put(lambda sink: sink.rewind(step))

    def close(self, *, finished: bool = True) -> None:
        """Store what is held back; waits a minute at most.

        Args:
            finished: Whether training has come to its end; else it will be resumed.
        """
        deadline = time.monotonic() + _CLOSE_SECONDS
        for follower in self._followers:
            follower.finish(lambda sink: sink.close(finished), deadline - time.monotonic())
        for follower in self._followers:
            follower.join(max(0.0, deadline - time.monotonic()))


def _makers(
    directory: StageDirectory, run: str, stage: str, config: dict[str, Any]
) -> dict[str, Callable[[], Sink]]:
    def ray() -> Sink:
        from astrosage.train.tracking.ray_gauges import RayGauges

        return RayGauges(run, stage)

    def tensorboard() -> Sink:
        from astrosage.train.tracking.tensorboard_files import TensorBoard

        return TensorBoard(directory.storage)

    def mlflow() -> Sink:
        from astrosage.train.tracking.mlflow_run import MlflowRun

        return MlflowRun(directory.storage, run, stage, config)

    def wandb() -> Sink:
        from astrosage.train.tracking.wandb_run import WandbRun

        return WandbRun(directory.storage, run, stage, config)

    return {"ray": ray, "tensorboard": tensorboard, "mlflow": mlflow, "wandb": wandb}


class _Follower:
    """A sink and the thread that feeds it."""

    def __init__(self, name: str, make: Callable[[], Sink], after_step: int | None) -> None:
        self.name = name
        self._items: queue.Queue[Point | Action | None] = queue.Queue(_WAITING)
        self._full = self._dropped = False
        self._thread = threading.Thread(
            target=self._run, args=(make, after_step), name=f"tracker-{name}", daemon=True
        )
        self._thread.start()

    def put(self, item: Point | Action | None, seconds: float = 0.0) -> None:
        """Hand over a point, or something to do; waits for room no longer than that."""
        if self._dropped:
            return
        try:
            self._items.put(item, block=seconds > 0, timeout=seconds or None)
        except queue.Full:
            if not self._full:
                log.warning("tracker %s cannot keep up: some points are left out", self.name)
            self._full = True

    def finish(self, last: Action, seconds: float) -> None:
        """Hand over the last thing to do."""
        self.put(last, seconds)
        self.put(None, seconds)

    def join(self, seconds: float) -> None:
        """Wait until all is done; nothing can be handed over any more."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            log.warning("tracker %s does not answer: left behind", self.name)
        self._dropped = True

    def _run(self, make: Callable[[], Sink], after_step: int | None) -> None:
        try:
            sink = make()
            sink.open(after_step)
            self._feed(sink)
        except Exception as error:
            self._dropped = True
            log.warning(
                "tracker %s fails and is left out from here on, training goes on: %s: %s",
                self.name,
                type(error).__name__,
                error,
            )

    def _feed(self, sink: Sink) -> None:
        while True:
            for are_points, items in groupby(self._waiting(), lambda i: isinstance(i, Point)):
                if are_points:
                    sink.log(cast("list[Point]", list(items)))
                    continue
                for action in cast("Iterable[Action | None]", items):
                    if action is None:
                        return
                    action(sink)

    def _waiting(self) -> list[Point | Action | None]:
        """What is there, at least one."""
        items = [self._items.get()]
        with suppress(queue.Empty):
            while len(items) < _AT_ONCE:
                items.append(self._items.get_nowait())
        return items
