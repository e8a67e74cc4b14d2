from __future__ import annotations

from pathlib import Path

import pytest

from astrosage.errors import SpecError
from astrosage.plan.accelerators import ACCELERATORS, GPU_PEAK_TFLOPS, find
from astrosage.train import throughput


@pytest.mark.parametrize("name", ACCELERATORS)
def test_every_gpu_is_found_by_its_name(name: str) -> None:
    assert find(name).name == name
    assert find(f"NVIDIA {name.upper()} 80GB").name == name


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("h100", "H100"),
        ("h100-pcie", "H100 PCIe"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA H100 80GB HBM3", "H100"),
    ],
)
def test_names_as_people_and_drivers_write_them(written: str, name: str) -> None:
    assert find(written).name == name


def test_an_unknown_gpu_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"--accelerator: `H10` is not known") as caught:
        find("H10")
    assert "did you mean `H100`?" in caught.value.hint


def test_training_divides_by_the_same_peaks() -> None:
    assert throughput.GPU_PEAK_TFLOPS is GPU_PEAK_TFLOPS
    assert GPU_PEAK_TFLOPS["H100"] == 989.4


def test_the_page_has_every_gpu_with_its_figures() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "planning.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")]
    for gpu in ACCELERATORS.values():
        figures = [f"{gpu.tflops:g}", f"{gpu.memory // 2**30}", f"{gpu.link / 1e9:g}"]
        figures.append(f"{gpu.network * 8 / 1e9:g} |")
        named = [row for row in rows if row[0].removeprefix("| ").split(" (")[0] == gpu.name]
        assert [row[1:] for row in named] == [figures], gpu.name
