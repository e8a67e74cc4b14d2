from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from astrosage.processor import has_bf16
from astrosage.train import throughput


def test_linear_parameters_are_those_of_the_model(tiny_model: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    counted = sum(m.weight.numel() for m in model.model.modules() if isinstance(m, torch.nn.Linear))
    assert throughput.linear_parameters(model.config) == counted


def test_flops_follow_the_formula(tiny_model: Path) -> None:
    config = AutoConfig.from_pretrained(tiny_model)
    linear = throughput.linear_parameters(config)
    expected = 3 * (2 * linear * 30 + 2 * 64 * 512 * 7 + 4 * 2 * 64 * (10**2 + 20**2))
    assert throughput.training_flops(config, [10, 20], 7) == expected


def test_peak_of_a_cpu_is_measured_and_says_so() -> None:
    bf16 = has_bf16()  # elsewhere it takes minutes
    peak = throughput.peak(torch.device("cpu"), bf16=bf16)
    assert peak.flops > 1e9
    assert f"measured {'bf16' if bf16 else 'fp32'} matrix product" in peak.source
