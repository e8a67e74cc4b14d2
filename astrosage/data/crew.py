"""Who examines and encodes records: this process, and others on the workers of a Ray cluster.

Batches go out in their order and come back in it, so what depends on the order of the records, and
with it every byte of the result, is the same for any number of workers.
"""

from __future__ import annotations

import gc
import math
import os
import pickle
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

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
_AHEAD = 3
"""Batches of a kind that are under way, for each actor: one is worked at, others wait for it, also
while the stage looks after something else. All come home before a checkpoint."""
_OWN_AHEAD = 15
"""Batches of a kind that this process has done and that wait for an actor's before them."""
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

    def lead(self, own: Worker) -> None:
        """Take this process's worker, which others are like; before there is work."""

    def leave(self) -> None:
        """Give back what others took, once there is no more work."""

    def map(
        self, method: Method, items: Iterable[Item], payload: Callable[[Item], Any]
    ) -> Iterator[tuple[Item, Any]]:
        """Each item with what a worker's method makes of its payload, in the order of the items.

        Raises:
            AstroError: As the method raised it; for the first item that fails.
        """


class Alone:
    """One worker, in this process."""

    def __init__(self) -> None:
        self._own: Worker | None = None

    def lead(self, own: Worker) -> None:
        """See :meth:`Crew.lead`."""
        self._own = own

    def leave(self) -> None:
        """See :meth:`Crew.leave`."""

    def map(
        self, method: Method, items: Iterable[Item], payload: Callable[[Item], Any]
    ) -> Iterator[tuple[Item, Any]]:
        """See :meth:`Crew.map`."""
        work = getattr(self._own, method)
        return ((item, work(payload(item))) for item in items)


class RayCrew:
    """This process and actors, once there is work for them and they have joined.

    The process works at a batch itself whenever each actor has enough to do; so it is one more
    worker where it has little else to do, as beside few actors, and none where it is busy with what
    stays in order. Few batches are under way, so that memory stays bounded.

    Args:
        context: The stage.
        count: How many actors are asked for.
        is_large: Whether they are asked for at once, and start while the stage still does.
    """

    def __init__(self, context: StageContext, count: int, *, is_large: bool = False) -> None:
        self._context, self._count = context, count
        self._own: Worker | None = None
        self._actors: Actors | None = None
        self._sent: Any = None
        self._load: dict[Any, Counter[Method]] = {}
        self._is_large, self._alone_until = is_large, math.inf

    def __enter__(self) -> RayCrew:
        if self._is_large:
            self._actors = _actors(self._context, self._count)
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """See :meth:`Crew.leave`."""
        actors, self._actors = self._actors, None
        if actors is not None:
            actors.__exit__()

    def lead(self, own: Worker) -> None:
        """See :meth:`Crew.lead`."""
        self._own, self._alone_until = own, time.monotonic() + ALONE_SECONDS

    @property
    def joined(self) -> int:
        """How many actors have joined."""
        return len(self._load)

    def map(
        self, method: Method, items: Iterable[Item], payload: Callable[[Item], Any]
    ) -> Iterator[tuple[Item, Any]]:
        """See :meth:`Crew.map`."""
        under_way: deque[_UnderWay[Item]] = deque()
        failed: Exception | None = None
        for item in items:
            actor = self._free(method)
            if actor is not None:
                # Ray's own pickling looks at each object in Python, which takes twice as long.
                sent = pickle.dumps(payload(item), protocol=5)
                reference = getattr(actor, method).remote([self._worker()], sent)
                under_way.append(_UnderWay(item, actor, reference))
            else:
                try:
                    found = getattr(self._own, method)(payload(item))
                except Exception as error:  # one before it may fail, too
                    failed = error
                    break
                under_way.append(_UnderWay(item, found=found))
            most = _AHEAD * self.joined + _OWN_AHEAD
            while under_way and (len(under_way) > most or under_way[0].is_done()):
                yield self._done(method, under_way.popleft())
        while under_way:
            yield self._done(method, under_way.popleft())
        if failed is not None:
            raise failed

    def _free(self, method: Method) -> Any:
        """The actor that has least to do; None while there is none that wants more.

        Methods take turns, and one takes longer than the other: shared out together, one of two
        actors would have all of the longer ones.
        """
        if self._actors is None:
            if time.monotonic() < self._alone_until:
                return None
            self._actors = _actors(self._context, self._count)
        for actor in self._actors.present():
            self._load.setdefault(actor, Counter())
        load = self._load
        actor = min(load, key=lambda one: (load[one][method], load[one].total()), default=None)
        if actor is None or load[actor][method] >= _AHEAD:
            return None
        load[actor][method] += 1
        return actor

    def _worker(self) -> Any:
        if self._sent is None:
            import ray

            self._sent = ray.put(pickle.dumps(self._own, protocol=5))
        return self._sent

    def _done(self, method: Method, batch: _UnderWay[Item]) -> tuple[Item, Any]:
        if batch.actor is None:
            return batch.item, batch.found
        assert self._actors is not None
        found = self._actors.result(batch.reference)
        self._load[batch.actor][method] -= 1
        return batch.item, pickle.loads(found)


@dataclass(frozen=True, slots=True)
class _UnderWay(Generic[Item]):
    """A batch whose turn has not come yet.

    Attributes:
        item: What it came from.
        actor: Who works at it; None: this process has done it.
        reference: Ray's, to what the actor finds.
        found: What this process has found.
    """

    item: Item
    actor: Any = None
    reference: Any = None
    found: Any = None

    def is_done(self) -> bool:
        if self.actor is None:
            return True
        import ray

        return bool(ray.wait([self.reference], timeout=0)[0])


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
        # What it is sent needs this; half a second, in which the stage works by itself.
        from transformers import PreTrainedTokenizerFast  # noqa: F401

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


def hire(context: StageContext) -> AbstractContextManager[Crew]:
    """The stage's crew: a process for each core of the cluster's workers, this one among them."""
    cluster = context.cluster
    count = cluster.max_workers * max(1, int(cluster.resources_per_worker.cpu))
    if count == 1:
        return nullcontext(Alone())
    return RayCrew(context, count - 1, is_large=_is_large(context))


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
