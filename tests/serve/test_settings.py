from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from astrosage.errors import DataError, NotFoundError, SpecError, StorageError
from astrosage.serve import auth, settings
from astrosage.serve.errors import ApiError

HASH = "0" * 64


def test_keys_in_a_folder_can_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "_READ_AGAIN_SECONDS", 0.0)
    with pytest.raises(NotFoundError, match="holds no key"):
        auth.KeyFolder(tmp_path)
    with pytest.raises(NotFoundError, match="holds no key"):
        auth.KeyFolder(tmp_path / "none")
    (tmp_path / "one").write_text("first\n")
    (tmp_path / "..data").mkdir()  # as Kubernetes mounts Secrets
    (tmp_path / ".hidden").write_text("third")
    keys = auth.KeyFolder(tmp_path)
    keys.require("Bearer first")
    for wrong in ("Bearer second", "Bearer third", None):
        with pytest.raises(ApiError):
            keys.require(wrong)
    (tmp_path / "two").write_text("second")
    keys.require("Bearer second")
    (tmp_path / "one").unlink()
    with pytest.raises(ApiError):
        keys.require("Bearer first")
    assert settings.parse(args(keyHashes=[], keyFolder=str(tmp_path))).key_folder


def args(**changes: Any) -> dict[str, Any]:
    return {"model": "m", "modelId": "astro", "keyHashes": [HASH]} | changes


def test_defaults() -> None:
    checked = settings.parse(args(maxConcurrent=3, maxQueue=5))
    assert (checked.limits.max_concurrent, checked.limits.max_queue) == (3, 5)
    assert checked.num_gpus == 0
    assert checked.draining == 120
    assert settings.parse(args(requestTimeoutSeconds=40)).draining == 40
    assert settings.parse(args(requestTimeoutSeconds=40, drainSeconds=5)).draining == 5


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"maxConcurent": 2}, "maxConcurent.*maxConcurrent"),
        ({"maxConcurrent": 0}, "max_?[cC]oncurrent"),
        ({"keyHashes": []}, "keyHashes: is empty"),
        ({"keyHashes": ["secret"]}, r"keyHashes\[0\]"),
        ({"allowAnonymous": True}, "allowAnonymous"),
        ({"keyFolder": "/keys"}, "exclude each other"),
        ({"keyHashes": [], "keyFolder": "/keys", "allowAnonymous": True}, "exclude each other"),
        ({"keyHashes": {"alice": "secret"}}, r"keyHashes\.alice"),
        ({"rateLimits": {"requestsPerMinute": 0}}, "rateLimits.*equestsPerMinute"),
        ({"rateLimits": {"perMinute": 5}}, "perMinute.*requestsPerMinute"),
        ({"requestTimeoutSeconds": 0}, "requestTimeoutSeconds"),
        ({"minReplicas": 2}, "minReplicas: 2 is above maxReplicas: 1"),
        ({"logPrompts": True}, "logPrompts: there is no access log"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(SpecError, match=named) as caught:
        settings.parse(args(**changes))
    assert "secret" not in str(caught.value)


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="accessLog"):
        settings.load(settings.parse(args(accessLog=str(tmp_path / "none" / "log"))))


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="not a folder"):
        settings.load(settings.parse(args(model=str(tmp_path / "none"))))


def test_broken_weights_are_named(tmp_path: Path, tiny_model: Path) -> None:
    for file in tiny_model.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[:2000])
    (tmp_path / "config.json").write_bytes((tiny_model / "config.json").read_bytes())
    with pytest.raises(DataError, match="cannot be loaded"):
        settings.load(settings.parse(args(model=str(tmp_path))))
