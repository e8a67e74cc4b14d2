from __future__ import annotations

from pathlib import Path

import pytest
import torch

from astrosage.errors import SpecError
from astrosage.plan.accelerators import ACCELERATORS, find
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


@pytest.mark.parametrize("name", ["NVIDIA H100 PCIe", "NVIDIA L40S", "AMD Instinct MI250X/MI250"])
def test_training_divides_by_the_same_peaks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)
    assert throughput.peak(torch.device("cuda")).flops == find(name).tflops * 1e12


@pytest.mark.parametrize("name", ["NVIDIA L40", "NVIDIA GH200 480GB"])
def test_a_gpu_is_not_taken_for_one_whose_name_is_part_of_its_own(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)
    monkeypatch.setattr(throughput, "measure_matmul", lambda *_: 1.5e14)
    peak = throughput.peak(torch.device("cuda"))
    assert peak.flops == 1.5e14
    assert peak.source == "measured bf16 matrix product 8192x8192, 150000 GFLOP/s"


def test_the_page_has_every_gpu_with_its_figures() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "planning.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")]
    for gpu in ACCELERATORS.values():
        figures = [f"{gpu.tflops:g}", f"{gpu.memory // 2**30}", f"{gpu.link / 1e9:g}"]
        figures.append(f"{gpu.network * 8 / 1e9:g} |")
        named = [row for row in rows if row[0].removeprefix("| ").split(" (")[0] == gpu.name]
        assert [row[1:] for row in named] == [figures], gpu.name
