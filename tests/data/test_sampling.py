from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.data.sampling import copies, is_held_out, uniform

KEYS = [i.to_bytes(16, "big") for i in range(4000)]
keys = st.binary(min_size=16, max_size=16)


@given(keys, st.floats(0.01, 5), st.integers(-5, 5))
def test_copies_are_the_weight_rounded_down_or_up(key: bytes, weight: float, seed: int) -> None:
    assert math.floor(weight) <= copies(key, weight, seed) <= math.ceil(weight)


@pytest.mark.parametrize("weight", [0.25, 0.5, 1.0, 1.5, 2.0, 3.1])
def test_copies_average_the_weight(weight: float) -> None:
    mean = sum(copies(k, weight, 0) for k in KEYS) / len(KEYS)
    spread = math.sqrt((weight % 1) * (1 - weight % 1) / len(KEYS))
    assert abs(mean - weight) <= 4 * spread


def test_seed_chooses_another_half() -> None:
    first = [copies(k, 0.5, 0) for k in KEYS]
    assert first == [copies(k, 0.5, 0) for k in KEYS]
    same = sum(a == copies(k, 0.5, 1) for a, k in zip(first, KEYS, strict=True))
    assert 0.45 < same / len(KEYS) < 0.55


@given(keys, st.floats(0, 0.5), st.floats(0, 0.5))
def test_more_validation_keeps_what_was_held_out(key: bytes, a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert not is_held_out(key, low) or is_held_out(key, high)


def test_held_out_share_and_its_independence_of_weights() -> None:
    held = [k for k in KEYS if is_held_out(k, 0.1)]
    assert 0.08 < len(held) / len(KEYS) < 0.12
    assert not any(is_held_out(k, 0.0) for k in KEYS)
    assert 0.35 < sum(copies(k, 0.5, 0) for k in held) / len(held) < 0.65


@given(keys)
def test_uniform_is_in_the_unit_interval(key: bytes) -> None:
    assert 0 <= uniform(key, "x") < 1
