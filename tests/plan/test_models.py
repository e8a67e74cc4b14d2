from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from astrosage.errors import NotFoundError, SpecError
from astrosage.plan.models import BUILT_IN, shape_of

SMALL = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 512,
    "max_position_embeddings": 256,
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A server that has the configuration of `lab/small`, and no cache beside it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/lab/small/resolve/main/config.json"
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(json.dumps(SMALL).encode() if found else b"")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    yield address
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("llama-3.1-8b", "llama-3.1-8b"),
        ("meta-llama/Llama-3.1-8B", "llama-3.1-8b"),
        ("meta-llama/Meta-Llama-3.1-70B-Instruct", "llama-3.1-70b"),
        ("meta-llama/Llama-3.3-70B-Instruct", "llama-3.1-70b"),
        ("meta-llama/Llama-3.1-405B", "llama-3.1-405b"),
        ("AstroMLab/AstroSage-70B", "llama-3.1-70b"),
        ("smollm2-135m", "smollm2-135m"),
    ],
)
def test_known_models_need_no_file(reference: str, name: str) -> None:
    assert shape_of(reference, "spec.model", remote=False) is BUILT_IN[name]


def test_a_folder_and_its_configuration_mean_the_same(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    shape = shape_of(str(tmp_path), "spec.model")
    assert shape == shape_of(str(tmp_path / "config.json"), "spec.model")
    assert (shape.hidden, shape.key_value_heads, shape.positions) == (64, 4, 256)


def test_the_hub_is_asked_for_the_configuration_only(hub: str) -> None:
    assert shape_of("lab/small", "spec.model").layers == 2


def test_what_the_hub_cache_has_is_not_asked_for(tmp_path: Path, hub: str) -> None:
    kept = tmp_path / "hub" / "hub" / "models--lab--kept" / "snapshots" / "abc"
    kept.mkdir(parents=True)
    (kept / "config.json").write_text(json.dumps({**SMALL, "num_hidden_layers": 5}))
    assert shape_of("lab/kept", "spec.model", remote=False).layers == 5


def test_a_hub_that_does_not_know_the_model(hub: str) -> None:
    with pytest.raises(NotFoundError, match=r"spec.model: the hub answers 404 for lab/other"):
        shape_of("lab/other", "spec.model")


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(NotFoundError, match="cannot be reached") as caught:
        shape_of("lab/other", "spec.model")
    assert "llama-3.1-8b" in caught.value.hint


def test_offline_asks_nobody(hub: str) -> None:
    with pytest.raises(NotFoundError, match="--offline"):
        shape_of("lab/small", "spec.model", remote=False)


def test_a_folder_without_configuration(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"has no config\.json") as caught:
        shape_of(str(tmp_path), "spec.stages[1].train.model")
    assert caught.value.message.startswith("spec.stages[1].train.model")


def test_a_configuration_that_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(SpecError, match=r"config\.json is no JSON object"):
        shape_of(str(tmp_path), "spec.model")


def test_a_mistyped_alias_is_answered_with_the_nearest() -> None:
    with pytest.raises(SpecError) as caught:
        shape_of("llama-3.1-8", "spec.model")
    assert "did you mean `llama-3.1-8b`?" in caught.value.hint


def test_a_model_that_only_pods_see() -> None:
    with pytest.raises(NotFoundError, match="in pods only"):
        shape_of("pvc://models/llama", "spec.model")
