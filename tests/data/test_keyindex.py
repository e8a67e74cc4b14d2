from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astrosage.data import keyindex
from astrosage.data.keyindex import KeyIndex

SPREAD = 0x9E3779B97F4A7C15  # times a small number: keys over the whole range, as hashes are


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyindex, "_BLOCK", 3)
    monkeypatch.setattr(keyindex, "_MERGED", 5)


def key(number: int) -> int:
    return number * SPREAD % 2**64


rows = st.lists(st.lists(st.integers(0, 12), min_size=3, max_size=3), max_size=60)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows, st.integers(1, 9), st.integers(0, 60))
def test_every_record_with_a_common_key_is_found(
    numbers: list[list[int]], most: int, at_once: int
) -> None:
    keys = [[key(n) for n in row] for row in numbers]
    index = KeyIndex(waiting=most)
    for record in range(0, len(keys), max(1, at_once)):
        part = keys[record : record + at_once]
        if part:
            index.add_many(np.array(part, np.uint64), record)
        else:
            index.add(keys[record], record)
    for row in [*keys, [key(99)]]:
        expected = [i for i, other in enumerate(keys) if set(other) & set(row)]
        assert index.find(row) == expected


@pytest.mark.parametrize("edge", [0, 2**64 - 1])
def test_the_least_and_the_greatest_key(edge: int) -> None:
    index = KeyIndex(waiting=4)
    for record in range(20):
        index.add([edge, key(record + 1)], record)
    assert index.find([edge]) == list(range(20))
    assert index.find([edge ^ 1]) == []


def test_few_keys_are_looked_for_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(0)
    index = KeyIndex(waiting=1000)
    keys = [chance.getrandbits(64) for _ in range(50_000)]
    for record, value in enumerate(keys):
        index.add([value], record)
    looked = []
    find = keyindex._Run.find
    monkeypatch.setattr(
        keyindex._Run, "find", lambda run, value: looked.append(value) or find(run, value)
    )
    assert [index.find([value]) for value in keys[:1000]] == [[i] for i in range(1000)]
    looked.clear()
    strangers = [chance.getrandbits(64) for _ in range(10_000)]
    assert not any(index.find([value]) for value in strangers)
    assert len(looked) < 0.06 * len(index._runs) * len(strangers)


def test_runs_stay_few() -> None:
    index = KeyIndex(waiting=16)
    for record in range(16 * 500):
        index.add([key(record)], record)
    assert len(index._runs) <= 10  # each is more than half as large as the next
    assert sum(run.count for run in index._runs) == 16 * 500
