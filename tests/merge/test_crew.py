"""The workers of a Ray cluster come to the same model as one process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import torch
from safetensors.torch import load_file

from astrosage.errors import DataError
from astrosage.merge import run as run_module
from astrosage.runs import manifest
from tests import tiny
from tests.merge.test_run import changed, merge, weights

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [tiny.make_model(folder / f"m{seed}", seed) for seed in range(3)]


@pytest.mark.parametrize("method", ["ties", "dare_ties"])
def test_the_same_as_alone(
    tmp_path: Path, models: list[Path], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    donors = [{"model": str(m), "weight": 0.5, "density": 0.4} for m in models[1:]]
    spec = {"method": method, "base": str(models[0]), "models": donors, "shardSize": "40K"}
    alone = merge(tmp_path / "alone", **spec)
    monkeypatch.setattr(run_module, "_LARGE_BYTES", 0)
    together = merge(tmp_path / "together", workers=2, **spec)
    manifest.verify(together, full=True)
    assert len(list(together.glob("*.safetensors"))) > 2
    assert {f.name for f in alone.iterdir()} == {f.name for f in together.iterdir()}
    for name, tensor in weights(alone).items():
        assert torch.equal(tensor, weights(together)[name]), name
    for file in together.glob("*.safetensors"):
        assert load_file(file).keys() == load_file(alone / file.name).keys()


def test_what_a_worker_finds_is_told_as_it_is_and_leaves_nothing(
    tmp_path: Path, models: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.norm.weight"][3] = float("nan")

    bad = changed(models[1], tmp_path / "bad", poisoned)
    monkeypatch.setattr(run_module, "_LARGE_BYTES", 0)
    donors = [{"model": str(models[0])}, {"model": str(bad)}]
    with pytest.raises(DataError, match=r"model\.norm\.weight has values that are not finite"):
        merge(tmp_path / "out", workers=2, method="linear", models=donors)
    assert not list((tmp_path / "out").rglob("*.safetensors"))
