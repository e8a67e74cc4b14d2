"""Who examines and encodes records: this process, or the workers of a Ray cluster.

Batches go out in their order and come back in it, so what depends on the order of the records, and
with it every byte of the result, is the same for any number of workers.
"""

from __future__ import annotations

import gc
import os
import pickle
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, Protocol, TypeVar

from astrosage.actors import Actors
from astrosage.context import StageContext
from astrosage.data.decontaminate import QuestionIndex
from astrosage.data.encode import BatchEncoder, Encoded
from astrosage.data.examine import Batch, Examined, Examiner
from astrosage.data.selection import Chosen, sources_of
from astrosage.data.sources import expand, is_stored, size_of
from astrosage.spec.graph import path_of
from astrosage.spec.prepare import PrepareSpec

ALONE_SECONDS = 5.0
"""How long a stage works by itself before it asks for actors, which take as long to start."""
LARGE_BYTES = 32 * 2**20
"""From this size of its sources on, a stage asks at once."""
_AHEAD = 6
"""Batches of a kind that are under way, for each actor: one is worked at, others wait for it, also
while the stage looks after something else, such as a checkpoint."""
COLLECTIONS = (50_000, 20, 100)
"""Thresholds of :mod:`gc`: garbage in cycles is looked for seldom, where hundreds of thousands of
objects wait and make none."""
Method = Literal["examine", "encode"]
Item = TypeVar("Item")


class Worker:
    """Does what can be done to records one by one.

    Args:
        spec: The stage's spec.
        field: Its place in the run file.
        tokenizer: The model's.
        index: The questions; None leaves decontamination out.

    Attributes:
        examiner: What it examines with.
    """

    def __init__(
        self, spec: PrepareSpec, field: str, tokenizer: Any, index: QuestionIndex | None
    ) -> None:
        self.examiner = Examiner(spec, field)
        self._encoder = BatchEncoder(spec, tokenizer, index)

    def examine(self, batch: Batch) -> Examined:
        """See :meth:`Examiner.examine`."""
        return self.examiner.examine(batch)

    def encode(self, batch: Sequence[Chosen]) -> Encoded:
        """See :meth:`BatchEncoder.encode`."""
        return self._encoder.encode(batch)


class Crew(Protocol):
    """Those who do the work."""

    def map(
        self, method: Method, items: Iterable[Item], payload: Callable[[Item], Any]
    ) -> Iterator[tuple[Item, Any]]:
        """Each item with what a worker's method makes of its payload, in the order of the items.

        Raises:
            AstroError: As the method raised it; for the first item that fails.
        """


class Alone:
    """One worker, in this process.

    Args:
        worker: It.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def map(
        self, method: Method, items: Iterable[Item], payload: Callable[[Item], Any]
    ) -> Iterator[tuple[Item, Any]]:
        """See :meth:`Crew.map`."""
        work = getattr(self._worker, method)
        return ((item, work(payload(item))) for item in items)


class RayCrew:
    """Actors, once there is work for them, and until one has joined the process itself.

    Few batches are under way, so that memory stays bounded.

    Args:
        context: The stage.
        own: The process's own worker.
        count: How many actors are asked for.
        is_large: Whether they are asked for at once.
    """

    def __init__(
        self, context: StageContext, own: Worker, count: int, *, is_large: bool = False
    ) -> None:
        self._context, self._own, self._count = context, own, count
        self._actors: Actors | None = None
        self._sent: Any = None
        self._load: dict[Any, Counter[Method]] = {}
        self._alone_until = time.monotonic() + (0.0 if is_large else ALONE_SECONDS)

    def __enter__(self) -> RayCrew:
        return self

    def __exit__(self, *error: object) -> None:
        if self._actors is not None:
            self._actors.__exit__(*error)

    @property
    def joined(self) -> int:
        """How many actors have joined."""
        return len(self._load)

    def map(
        self, method: Method, items: Iterable[Item], payload: Callable[[Item], Any]
    ) -> Iterator[tuple[Item, Any]]:
        """See :meth:`Crew.map`."""
        under_way: deque[tuple[Item, Any, Any]] = deque()
        for item in items:
            actor = self._least_busy(method)
            if actor is None:
                yield item, getattr(self._own, method)(payload(item))
                continue
            # Ray's own pickling looks at each object in Python, which takes twice as long.
            sent = pickle.dumps(payload(item), protocol=5)
            under_way.append((item, actor, getattr(actor, method).remote([self._sent], sent)))
            if len(under_way) >= _AHEAD * self.joined:
                yield self._done(method, *under_way.popleft())
        while under_way:
            yield self._done(method, *under_way.popleft())

    def _least_busy(self, method: Method) -> Any:
        """An actor; None while there is none.

        Methods take turns, and one takes longer than the other: shared out together, one of two
        actors would have all of the longer ones.
        """
        if self._actors is None:
            if time.monotonic() < self._alone_until:
                return None
            import ray

            self._sent = ray.put(pickle.dumps(self._own, protocol=5))
            self._actors = _actors(self._context, self._count)
        for actor in self._actors.present():
            self._load.setdefault(actor, Counter())
        if not self._load:
            return None
        load = self._load
        actor = min(load, key=lambda one: (load[one][method], load[one].total()))
        load[actor][method] += 1
        return actor

    def _done(self, method: Method, item: Item, actor: Any, reference: Any) -> tuple[Item, Any]:
        assert self._actors is not None
        found = self._actors.result(reference)
        self._load[actor][method] -= 1
        return item, pickle.loads(found)


def _actors(context: StageContext, count: int) -> Actors:
    return Actors(
        context,
        RemoteWorker,
        (),
        count,
        what="preparing worker",
        hint="look at its log (`astroctl logs`), then `astroctl resume`",
        gpus=False,
        cpu=1,
        scheduling_strategy="SPREAD",
    )


class RemoteWorker:
    """A Ray actor that examines and encodes with one thread.

    It needs no file of the stage's. Each call tells where its :class:`Worker` is, as a list with
    Ray's reference to the pickled one, so that an actor that was started again finds it.
    """

    def __init__(self) -> None:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # its core is one of many
        gc.set_threshold(*COLLECTIONS)
        self._known: Worker | None = None

    def ready(self) -> None:
        """Answers once the worker has its resources."""

    def examine(self, worker: list[Any], batch: bytes) -> bytes:
        """See :meth:`Worker.examine`; both sides pickled."""
        return pickle.dumps(self._worker(worker).examine(pickle.loads(batch)), protocol=5)

    def encode(self, worker: list[Any], batch: bytes) -> bytes:
        """See :meth:`Worker.encode`; both sides pickled."""
        return pickle.dumps(self._worker(worker).encode(pickle.loads(batch)), protocol=5)

    def _worker(self, sent: list[Any]) -> Worker:
        import ray

        if self._known is None:
            self._known = pickle.loads(ray.get(sent[0]))
        return self._known


def hire(context: StageContext, own: Worker) -> AbstractContextManager[Crew]:
    """The stage's crew: an actor for each core of the cluster's workers.

    Args:
        context: The stage.
        own: Who works where that is one core only.
    """
    cluster = context.cluster
    count = cluster.max_workers * max(1, int(cluster.resources_per_worker.cpu))
    if count == 1:
        return nullcontext(Alone(own))
    return RayCrew(context, own, count, is_large=_is_large(context))


def _is_large(context: StageContext) -> bool:
    spec = context.stage.body
    assert isinstance(spec, PrepareSpec)
    size = 0
    for source, where, _ in sources_of(spec, f"{path_of(context.job, context.stage)}.prepare"):
        if is_stored(source.path):
            continue  # each file's size would have to be asked for
        for file in expand(source.path, f"{where}.path"):
            size += size_of(file)
            if size >= LARGE_BYTES:
                return True
    return False
