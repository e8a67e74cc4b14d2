"""What each step learns from: global batches in order, dealt out to the workers."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from astrosage.data.loader import Batch, GlobalOrder, PackedDataset
from astrosage.train.batches import FlatBatch, flatten


@dataclass(frozen=True)
class Part:
    """A worker's micro-batch.

    Attributes:
        batch: The documents.
        weight: 1, or 0 where the global batch had no rows left for this worker: it computes one
            all the same, since sharded parameters are gathered by all workers together.
    """

    batch: FlatBatch
    weight: float


@dataclass(frozen=True)
class GlobalBatch:
    """What one optimizer step learns from.

    Attributes:
        position: Its place in the order of global batches.
        rows: Its rows of the data set.
        learnt: Tokens that are learnt, over all workers.
        real: Tokens that are no padding, over all workers.
        parts: This worker's micro-batches.
    """

    position: int
    rows: list[int]
    learnt: int
    real: int
    parts: list[Part]


class Feed:
    """Global batches by position; the next one is read while this one is learnt from.

    Args:
        data: Packed rows.
        seed: Decides the order, together with the position alone.
        global_batch_size: Rows a step.
        micro_batch_size: Rows that a worker computes at once.
        rank: This worker.
        workers: How many there are; the rows of a step do not depend on it.
    """

    def __init__(
        self,
        data: PackedDataset,
        seed: int,
        global_batch_size: int,
        micro_batch_size: int,
        rank: int = 0,
        workers: int = 1,
    ) -> None:
        self._data = data
        self._order = GlobalOrder(len(data), seed)
        self._size, self._micro = global_batch_size, micro_batch_size
        self._rank, self._workers = rank, workers
        self.accumulation_steps = -(-global_batch_size // (micro_batch_size * workers))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="feed")
        self._next: tuple[int, Future[GlobalBatch]] | None = None

    def at(self, position: int) -> GlobalBatch:
        """The global batch at a position (from 0)."""
        ahead, self._next = self._next, None
        if ahead is not None and ahead[0] == position:
            batch = ahead[1].result()
        else:
            batch = self._read(position)
        self._next = position + 1, self._thread.submit(self._read, position + 1)
        return batch

    def _read(self, position: int) -> GlobalBatch:
        rows = self._order.indices(position, self._size)
        whole = self._data.rows(rows)
        return GlobalBatch(
            position,
            rows,
            learnt=int(whole.mask.sum()),
            real=int((whole.segments > 0).sum()),
            parts=[self._part(whole, step) for step in range(self.accumulation_steps)],
        )

    def _part(self, whole: Batch, step: int) -> Part:
        """Rows are dealt out by micro-batch, then by rank."""
        begin = (step * self._workers + self._rank) * self._micro
        mine, weight = slice(begin, begin + self._micro), 1.0
        if begin >= self._size:
            mine, weight = slice(0, 1), 0.0
        return Part(flatten(whole.tokens[mine], whole.segments[mine], whole.mask[mine]), weight)
