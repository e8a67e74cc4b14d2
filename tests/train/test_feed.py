from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from astrosage.data.loader import Batch
from astrosage.spec.train import TrainSpec
from astrosage.train import deepspeed_config
from astrosage.train.feed import Feed


class Rows:
    """A data set whose row ``i`` is one document of 4 tokens ``10 i …``."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def rows(self, indices: list[int]) -> Batch:
        tokens = np.array(indices, dtype=np.int32)[:, None] * 10 + np.arange(4, dtype=np.int32)
        mask = np.ones_like(tokens, dtype=np.uint8)
        mask[:, 0] = 0
        return Batch(tokens, np.ones_like(tokens), mask)


def feed(rows: int, size: int, micro: int, rank: int, workers: int) -> Feed:
    return Feed(Rows(rows), 7, size, micro, rank, workers)  # type: ignore[arg-type]


@given(
    rows=st.integers(1, 30),
    size=st.integers(1, 20),
    workers=st.integers(1, 6),
    micro=st.integers(1, 8) | st.none(),
    position=st.integers(0, 9),
)
def test_every_row_of_a_step_is_learnt_once_whatever_the_workers(
    rows: int, size: int, workers: int, micro: int | None, position: int
) -> None:
    spec = TrainSpec(objective="cpt", data="x", global_batch_size=size, micro_batch_size=micro)
    used = deepspeed_config.micro_batch_size(spec, workers, 1024)
    alone = feed(rows, size, size, 0, 1).at(position)
    seen: list[int] = []
    steps = set()
    for rank in range(workers):
        batch = feed(rows, size, used, rank, workers).at(position)
        assert (batch.rows, batch.learnt, batch.real) == (alone.rows, 3 * size, 4 * size)
        steps.add(len(batch.parts))
        for part in batch.parts:
            assert len(part.batch.targets) > 0, "every rank has something to compute"
            if part.weight:
                seen += part.batch.tokens[0, ::4].tolist()
    assert len(steps) == 1, "every rank takes part in every collective"
    assert sorted(seen) == sorted(row * 10 for row in alone.rows)


def test_positions_may_be_asked_for_in_any_order() -> None:
    one = feed(11, 4, 2, 0, 1)
    straight = [one.at(p).rows for p in range(6)]
    other = feed(11, 4, 2, 0, 1)
    assert [other.at(p).rows for p in (3, 5, 0, 1, 4, 2)] == [
        straight[p] for p in (3, 5, 0, 1, 4, 2)
    ]
