"""Work spread over a Ray cluster's workers.

As many workers as a stage asks for are requested; each joins when the cluster has room for it, and
those that never get room are not waited for.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from astrosage.context import StageContext
from astrosage.errors import AstroError, CapacityError, ClusterError

log = logging.getLogger(__name__)

# A busy worker is waited for that long, one for which no node is large enough only that long.
_BUSY_SECONDS, _TOO_SMALL_SECONDS = 300.0, 30.0

Call = Callable[[Any], Any]
"""Given an actor, starts a call of one of its methods and returns Ray's reference."""


class Actors:
    """Ray actors, each with a worker's resources; use as a context manager.

    Args:
        context: The stage; its cluster says how large a worker is, its retries how often one that
            died is started again.
        actor: Their class; its method ``ready`` answers once an actor can work.
        arguments: What it is made with.
        count: How many are requested.
        what: What they are called in messages, such as ``scoring worker``.
        hint: What to do when one dies too often.
        gpus: Whether they take the worker's GPUs too.
        cpu: Cores that each takes, if not a worker's.
        options: More options of Ray's for actors.

    Attributes:
        count: How many were requested.
        joined: Those that got room so far.
    """

    def __init__(
        self,
        context: StageContext,
        actor: type,
        arguments: Sequence[Any],
        count: int,
        *,
        what: str,
        hint: str,
        gpus: bool,
        cpu: float | None = None,
        **options: Any,
    ) -> None:
        import ray

        self._wanted, self._gpus = context.cluster.resources_per_worker, gpus
        self._what, self._hint = what, hint
        failures = context.job.spec.retry.max_failures
        remote = ray.remote(actor).options(
            num_cpus=self._wanted.cpu if cpu is None else cpu,
            num_gpus=self._wanted.gpu if gpus else 0,
            max_restarts=failures,
            max_task_retries=failures,
            **options,
        )
        self._all = [remote.remote(*arguments) for _ in range(count)]
        self._joining = {actor.ready.remote(): actor for actor in self._all}
        self._began = time.monotonic()
        self.count = count
        self.joined: list[Any] = []

    def __enter__(self) -> Actors:
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        if self._joining:
            log.info("%d of %d workers took part", len(self.joined), self.count)
        for actor in self._all:
            ray.kill(actor)

    def perform(self, calls: Sequence[Call]) -> Iterator[tuple[int, Any]]:
        """Make all calls, each by whoever is free.

        Yields:
            The number of a call and its result, in the order in which they are done.

        Raises:
            AstroError: As a call raised it.
            CapacityError, ClusterError: If no worker can be had, or one dies too often.
        """
        with self._explained():
            yield from self._dispatch(deque(enumerate(calls)))

    def present(self) -> list[Any]:
        """Those that have got room by now; none is waited for.

        Raises:
            ClusterError: If one died while it started.
        """
        import ray

        if self._joining:
            started, _ = ray.wait([*self._joining], num_returns=len(self._joining), timeout=0)
            for reference in started:
                self.result(reference)
                self.joined.append(self._joining.pop(reference))
        return self.joined

    def result(self, reference: Any) -> Any:
        """What a call that was made of one of them has given.

        Raises:
            AstroError: As the call raised it.
            ClusterError: If the actor died too often.
        """
        import ray

        with self._explained():
            return ray.get(reference)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        import ray

        try:
            yield
        except ray.exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, AstroError) else error) from error
        except ray.exceptions.RayActorError as error:
            raise ClusterError(f"a {self._what} died: {error}", self._hint) from error

    def _dispatch(self, queue: deque[tuple[int, Call]]) -> Iterator[tuple[int, Any]]:
        import ray

        running: dict[Any, tuple[int, Any]] = {}

        def begin(actor: Any) -> None:
            if queue:
                number, call = queue.popleft()
                running[call(actor)] = (number, actor)

        for actor in self.joined:
            begin(actor)
        while queue or running:
            done, _ = ray.wait([*running, *self._joining], timeout=1.0)
            for reference in done:
                value = ray.get(reference)
                if reference in self._joining:
                    actor = self._joining.pop(reference)
                    self.joined.append(actor)
                else:
                    number, actor = running.pop(reference)
                    yield number, value
                begin(actor)
            if not self.joined:
                self._check_patience(time.monotonic() - self._began)

    def _check_patience(self, seconds: float) -> None:
        import ray

        cpu, gpu = self._wanted.cpu, self._wanted.gpu if self._gpus else 0
        asked = f"a worker with {cpu:g} CPU and {gpu:g} GPU"
        nodes = [n["Resources"] for n in ray.nodes() if n["Alive"]]
        fits = any(n.get("CPU", 0) >= cpu and n.get("GPU", 0) >= gpu for n in nodes)
        if not fits and seconds > _TOO_SMALL_SECONDS:
            largest = ", ".join(f"{n.get('CPU', 0):g} CPU {n.get('GPU', 0):g} GPU" for n in nodes)
            raise CapacityError(
                f"spec.cluster.resourcesPerWorker: no node has room for {asked}; nodes: {largest}",
                "ask for less, or use a larger cluster",
            )
        if seconds > _BUSY_SECONDS:
            raise ClusterError(
                f"{asked} did not become free within {_BUSY_SECONDS:.0f} s",
                "something else uses the cluster: wait for it or stop it, then resume",
            )
