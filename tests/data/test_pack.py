from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.data.pack import best_fit_decreasing


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[int], int]:
    row = draw(st.integers(1, 64))
    return draw(st.lists(st.integers(1, row), max_size=120)), row


def first_fit(lengths: list[int], row_length: int) -> int:
    rows: list[int] = []
    for length in lengths:
        for i, used in enumerate(rows):
            if used + length <= row_length:
                rows[i] += length
                break
        else:
            rows.append(length)
    return len(rows)


@given(problems())
def test_each_item_once_and_no_row_over_its_length(problem: tuple[list[int], int]) -> None:
    lengths, row_length = problem
    rows = best_fit_decreasing(lengths, row_length)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all(0 < sum(lengths[i] for i in row) <= row_length for row in rows)
    assert rows == best_fit_decreasing(lengths, row_length)


@given(problems())
def test_no_row_was_opened_that_an_earlier_one_made_needless(
    problem: tuple[list[int], int],
) -> None:
    lengths, row_length = problem
    rows = best_fit_decreasing(lengths, row_length)
    used = [sum(lengths[i] for i in row) for row in rows]
    for later in range(len(rows)):
        largest = max(lengths[i] for i in rows[later])
        assert all(used[earlier] + largest > row_length for earlier in range(later))


@given(st.integers(0, 10_000))
def test_documents_of_real_lengths_pack_no_worse_than_first_fit(seed: int) -> None:
    rng = random.Random(seed)
    lengths = [min(512, 1 + int(rng.lognormvariate(4.5, 1.0))) for _ in range(300)]
    assert len(best_fit_decreasing(lengths, 512)) <= first_fit(lengths, 512)


def test_best_fit_leaves_the_least_room() -> None:
    # Rows of 7 and of 6 are open when the 3 comes: it belongs with the 7.
    assert best_fit_decreasing([6, 7, 3], 10) == [[1, 2], [0]]


@pytest.mark.parametrize("lengths", [[0], [11], [5, -1]])
def test_items_that_fit_nowhere(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="rows hold 1 to 10"):
        best_fit_decreasing(lengths, 10)


def test_many_items_of_many_lengths_are_quick() -> None:
    rng = random.Random(0)
    lengths = [rng.randint(1, 4096) for _ in range(50_000)]
    rows = best_fit_decreasing(lengths, 4096)
    assert len(rows) * 4096 < 1.01 * sum(lengths)
