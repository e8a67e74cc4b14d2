from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from astrosage.errors import DataError, NotFoundError, SpecError
from astrosage.serve import settings

HASH = "0" * 64


def args(**changes: Any) -> dict[str, Any]:
    return {"model": "m", "modelId": "astro", "keyHashes": [HASH]} | changes


def test_defaults() -> None:
    checked = settings.parse(args(maxConcurrent=3, maxQueue=5))
    assert (checked.limits.max_concurrent, checked.limits.max_queue) == (3, 5)
    assert checked.num_gpus == 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"maxConcurent": 2}, "maxConcurent.*maxConcurrent"),
        ({"maxConcurrent": 0}, "max_?[cC]oncurrent"),
        ({"keyHashes": []}, "keyHashes: is empty"),
        ({"keyHashes": ["secret"]}, r"keyHashes\[0\]"),
        ({"allowAnonymous": True}, "allowAnonymous"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(SpecError, match=named) as caught:
        settings.parse(args(**changes))
    assert "secret" not in str(caught.value)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="not a folder"):
        settings.load(settings.parse(args(model=str(tmp_path / "none"))))


def test_broken_weights_are_named(tmp_path: Path, tiny_model: Path) -> None:
    for file in tiny_model.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[:2000])
    (tmp_path / "config.json").write_bytes((tiny_model / "config.json").read_bytes())
    with pytest.raises(DataError, match="cannot be loaded"):
        settings.load(settings.parse(args(model=str(tmp_path))))
