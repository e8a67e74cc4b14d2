from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM

from astrosage.context import StageContext
from astrosage.spec.load import parse
from astrosage.train import export
from astrosage.train.model import TrainingModel


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)]
)
def test_a_model_is_written_in_the_type_that_it_was_to_be_computed_in(
    precision: str,
    dtype: torch.dtype,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train = {"objective": "cpt", "data": "corpus", "maxSteps": 1, "precision": precision}
    stages = [
        {"name": "corpus", "prepare": {"sources": [{"path": "x.txt"}]}},
        {"name": "cpt", "train": train},
    ]
    spec = {"model": str(tiny_model), "storage": str(tmp_path), "stages": stages}
    job = parse({"metadata": {"name": "t"}, "spec": spec}).to_yaml_dict()
    context = StageContext(job, "cpt", str(tmp_path / "default/t"), "k")
    trained = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    with torch.no_grad():
        for weight in trained.parameters():
            weight += 1e-4 * torch.randn_like(weight)
    expected = {name: weight.detach().to(dtype) for name, weight in trained.named_parameters()}
    engine = SimpleNamespace(module=TrainingModel(trained))
    monkeypatch.setattr(torch.distributed, "barrier", lambda: None)

    export.export(engine, context, tiny_model, zero_stage=0, rank=0)

    folder = tmp_path / "default/t/stages/cpt/model"
    written = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    assert written.dtype is dtype
    assert json.loads((folder / "config.json").read_text())["dtype"] == str(dtype).split(".")[1]
    for name, weight in written.named_parameters():
        assert torch.equal(weight, expected[name]), name
