"""The page on metrics names every figure and every peak."""

import re
from pathlib import Path

import pytest

from astrosage.plan.accelerators import GPU_PEAK_TFLOPS
from astrosage.train.tracking.ray_gauges import GAUGES, LABELLED
from astrosage.train.watchdog import ENOUGH, FLOOR, WINDOW

PAGE = (Path(__file__).resolve().parents[2] / "docs/training-metrics.md").read_text()


def test_every_gauge_is_there_with_its_field() -> None:
    written = dict(
        re.findall(r"^\| `ray_astrosage_train_(\w+)(?:\{\w+\})?` \| `(\w+)` \|$", PAGE, re.M)
    )
    expected = {name: field for field, (name, _) in GAUGES.items()}
    expected |= {name: field for field, (name, _, _) in LABELLED.items()}
    assert written == expected | {"step": "step"}


@pytest.mark.parametrize("field", [*GAUGES, *LABELLED])
def test_every_field_is_explained(field: str) -> None:
    assert re.search(rf"^\| `{field}` \| [^|]*\| \S", PAGE, re.M)


def test_the_peaks_are_those_that_are_used() -> None:
    written = re.findall(r"^\| ([A-Z][\w ]+?)(?:, each half)? \| ([\d.]+) \|$", PAGE, re.M)
    assert {name: float(peak) for name, peak in written} == GPU_PEAK_TFLOPS


def test_the_watchdogs_numbers_are_there() -> None:
    assert (WINDOW, ENOUGH, FLOOR) == (32, 8, 0.1)
    assert "last 32 good ones, once eight have been seen; a median below 0.1" in PAGE
