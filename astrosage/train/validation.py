"""Loss on held-out text, source by source, shared out over the workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from astrosage.data.loader import PackedDataset
from astrosage.train.batches import flatten
from astrosage.train.engine import all_sum


class Validation:
    """Held-out rows and how a worker takes part in judging them.

    Args:
        data: The validation split; may be empty.
        micro_batch_size: Rows computed at once.
        rank: This worker.
        workers: How many there are.
        device: Where it computes.
    """

    def __init__(
        self,
        data: PackedDataset,
        micro_batch_size: int,
        rank: int,
        workers: int,
        device: torch.device,
    ) -> None:
        self._data, self._micro = data, micro_batch_size
        self._rank, self._workers, self._device = rank, workers, device

    def __bool__(self) -> bool:
        return len(self._data) > 0

    @torch.no_grad()
    def losses(
        self, engine: Any, beat: Callable[[], None] = lambda: None
    ) -> tuple[float, dict[str, float]]:
        """Mean loss of a token in nats: over all, and of each source; collective.

        Args:
            engine: What trains.
            beat: Called before each pass.
        """
        engine.module.eval()
        sums = [s for _, rows in self._data.sources for s in self._sum(engine, rows, beat)]
        engine.module.train()
        sums = all_sum(*sums)
        by_source = {
            name: sums[2 * i] / max(1.0, sums[2 * i + 1])
            for i, (name, _) in enumerate(self._data.sources)
        }
        return sum(sums[0::2]) / max(1.0, sum(sums[1::2])), by_source

    def _sum(self, engine: Any, rows: range, beat: Callable[[], None]) -> tuple[float, float]:
        """Summed loss and learnt tokens of this rank's share of some rows."""
        summed, learnt = 0.0, 0.0
        for begin in range(rows.start, rows.stop, self._micro * self._workers):
            beat()
            first = begin + self._rank * self._micro
            mine = list(range(first, min(first + self._micro, rows.stop)))
            # Sharded parameters are gathered by all ranks together, so a rank without rows of its
            # own computes one all the same and leaves it out of the sum.
            packed = self._data.rows(mine or [rows.start])
            batch = flatten(packed.tokens, packed.segments, packed.mask).to(self._device)
            loss = float(engine(batch))
            if mine:
                summed, learnt = summed + loss, learnt + len(batch.targets)
        return summed, learnt
