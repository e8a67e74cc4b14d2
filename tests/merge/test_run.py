import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from astrosage.context import StageContext
from astrosage.errors import AstroError, DataError, SpecError
from astrosage.merge.run import run
from astrosage.models import writing
from astrosage.runs import manifest
from astrosage.runs.directory import RunDirectory
from astrosage.spec.load import parse
from tests import tiny


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [tiny.make_model(folder / f"m{seed}", seed) for seed in range(3)]


def merge(folder: Path, **spec: Any) -> Path:
    job = parse(
        {
            "metadata": {"name": "m"},
            "spec": {
                "model": "smollm2-135m",
                "storage": str(folder),
                "stages": [{"name": "merged", "merge": spec}],
            },
        }
    )
    directory = RunDirectory.of(job)
    run(StageContext(job.to_yaml_dict(), "merged", directory.uri, "k"))
    return Path(directory.uri) / "stages/merged/model"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    merged: dict[str, torch.Tensor] = {}
    for file in folder.glob("*.safetensors"):
        merged |= load_file(file)
    return merged


def test_linear_merge_loads_and_is_the_mean(tmp_path: Path, models: list[Path]) -> None:
    donors = [{"model": str(m), "weight": w} for m, w in zip(models[:2], (3, 1), strict=True)]
    made = merge(tmp_path, method="linear", models=donors)
    manifest.verify(made, full=True)
    a, b, found = weights(models[0]), weights(models[1]), weights(made)
    assert found.keys() == a.keys()
    for name, tensor in found.items():
        expected = (0.75 * a[name].float() + 0.25 * b[name].float()).to(torch.bfloat16)
        assert torch.equal(tensor, expected), name
    model = AutoModelForCausalLM.from_pretrained(made)
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    assert AutoTokenizer.from_pretrained(made).chat_template


@pytest.mark.parametrize("method", ["ties", "dare_ties"])
def test_one_donor_of_full_density_is_the_donor(
    tmp_path: Path, models: list[Path], method: str
) -> None:
    made = merge(tmp_path, method=method, base=str(models[0]), models=[{"model": str(models[1])}])
    donor = weights(models[1])
    for name, tensor in weights(made).items():
        torch.testing.assert_close(tensor, donor[name], atol=1e-2, rtol=1e-2)


def test_dare_ties_is_deterministic_in_shards_of_any_size(
    tmp_path: Path, models: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    donors = [{"model": str(m), "weight": 0.5, "density": 0.4} for m in models[1:]]
    spec = {"method": "dare_ties", "base": str(models[0]), "models": donors, "seed": 3}
    whole = merge(tmp_path / "a", **spec)
    defaults = writing.ShardWriter.__init__.__defaults__
    monkeypatch.setattr(writing.ShardWriter.__init__, "__defaults__", (40_000,))
    cut = merge(tmp_path / "b", **spec)
    assert defaults == (writing.MAX_SHARD_BYTES,)
    assert len(list(cut.glob("*.safetensors"))) > 2 > len(list(whole.glob("*.safetensors"))) - 1
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(cut)[name]), name
    assert AutoModelForCausalLM.from_pretrained(cut).num_parameters() > 0
    index = json.loads((cut / writing.INDEX).read_text())
    assert index["weight_map"].keys() == weights(cut).keys()


def changed(model: Path, folder: Path, edit: Any) -> Path:
    shutil.copytree(model, folder)
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_what_does_not_fit_is_named_and_leaves_nothing(tmp_path: Path, models: list[Path]) -> None:
    norm = "model.norm.weight"

    def longer(tensors: dict[str, torch.Tensor]) -> None:
        tensors[norm] = torch.ones(65, dtype=torch.bfloat16)

    def poisoned(tensors: dict[str, torch.Tensor]) -> None:
        tensors[norm][3] = float("nan")

    def missing(tensors: dict[str, torch.Tensor]) -> None:
        del tensors[norm]

    for edit, words in (
        (longer, r"model.norm.weight is \[64\] in .* and \[65\] in"),
        (poisoned, "model.norm.weight has values that are not finite"),
        (missing, "has model.norm.weight"),
    ):
        bad = changed(models[1], tmp_path / edit.__name__, edit)
        donors = [{"model": str(models[0])}, {"model": str(bad)}]
        with pytest.raises(DataError, match=words):
            merge(tmp_path / "out", method="linear", models=donors)
    assert not list((tmp_path / "out").rglob("*.safetensors"))


def test_pickles_are_refused(tmp_path: Path, models: list[Path]) -> None:
    bad = tmp_path / "pickle"
    shutil.copytree(models[0], bad)
    (bad / "model.safetensors").rename(bad / "pytorch_model.bin")
    with pytest.raises(AstroError, match=r"pytorch_model.bin \(pickle, not accepted\)"):
        merge(tmp_path / "out", method="linear", models=[{"model": str(bad)}])


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"method": "ties", "models": [{"model": "a/b"}]}, "needs `base`"),
        ({"method": "linear", "base": "a/b", "models": [{"model": "a/b"}]}, "has no `base`"),
        ({"method": "slerp", "base": "a/b", "models": [{"model": "a/b", "weight": 2}]}, "0 to 1"),
        (
            {"models": [{"model": "a/b", "weight": 1}, {"model": "a/c", "weight": -1}]},
            "cannot be normalized",
        ),
    ],
)
def test_specs_that_cannot_work(tmp_path: Path, spec: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        merge(tmp_path, **spec)
