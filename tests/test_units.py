import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.units import format_bytes, format_seconds, parse_bytes


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [("6Gi", 6 * 2**30), ("1.5G", 1_500_000_000), ("512Mi", 512 * 2**20), ("1000", 1000)],
)
def test_quantities(quantity: str, expected: int) -> None:
    assert parse_bytes(quantity) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0s"), (59.4, "59s"), (59.6, "1m00s"), (3599, "59m59s"), (3600, "1h00m"), (7505, "2h05m")],
)
def test_durations(seconds: float, expected: str) -> None:
    assert format_seconds(seconds) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1.5 * 2**30, "1.5 GiB"), (2**41, "2.0 TiB")],
)
def test_sizes(count: float, expected: str) -> None:
    assert format_bytes(count) == expected


@given(st.integers(0, 10**6), st.sampled_from(["K", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"]))
def test_a_unit_multiplies(number: int, unit: str) -> None:
    base, power = (1024 if unit.endswith("i") else 1000), "KMGT".index(unit[0]) + 1
    assert parse_bytes(f"{number}{unit}") == number * base**power
