from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astrosage.serve.limits import Limits
from astrosage.serve.transformers_engine import TransformersEngine
from tests.serve.conftest import KEY, MODEL, client_for, make_service, serving

pytestmark = pytest.mark.api

HEADERS = {"Authorization": f"Bearer {KEY}"}
CHAT: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
TEXT: dict[str, Any] = {"model": MODEL, "prompt": "Hi"}


def post(url: str, path: str, body: Any, headers: dict[str, str] = HEADERS) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(f"{url}/v1/{path}", content=content, headers=headers, timeout=30)


def error_of(response: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": [{"role": "robot", "content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content",
        ),
        ({"messages": [{"role": "user", "content": "star " * 300}]}, "messages"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": "0.5"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": 1000}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 201}, "max_tokens"),
        ({"max_completion_tokens": 201}, "max_completion_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"stop": ""}, "stop"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"stop": {"a": 1}}, "stop"),
        ({"seed": 2**70}, "seed"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format"),
        ({"presence_penalty": False}, "presence_penalty"),
        ({"max_token": 5}, "max_token"),
        ({"{x}": 5}, "{x}"),
        ({"reasoning": "maybe"}, "reasoning"),
        ({"model": None}, "model"),
    ],
)
def test_a_wrong_field_of_a_chat_is_named(url: str, changes: dict[str, Any], param: str) -> None:
    response = post(url, "chat/completions", CHAT | changes)
    assert response.status_code == 400, response.text
    error = error_of(response)
    assert error["param"] == param
    assert param in error["message"]
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt"),
        ({"prompt": [True]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": [512]}, "prompt"),
        ({"prompt": [10**30]}, "prompt"),
        ({"prompt": [7] * 256}, "prompt"),
        ({"prompt": ["a"] * 41}, "prompt"),
        ({"prompt": [7] * 100, "max_tokens": 157}, "prompt"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"logprobs": True}, "logprobs"),
        ({"logprobs": 21}, "logprobs"),
        ({"best_of": 2}, "best_of"),
        ({"suffix": "x"}, "suffix"),
    ],
)
def test_a_wrong_field_of_a_completion_is_named(
    url: str, changes: dict[str, Any], param: str
) -> None:
    response = post(url, "completions", TEXT | changes)
    assert response.status_code == 400, response.text
    assert error_of(response)["param"] == param


def test_unknown_field_suggests_the_nearest(url: str) -> None:
    assert "max_tokens" in error_of(post(url, "completions", TEXT | {"max_token": 5}))["message"]


def test_neutral_and_bookkeeping_fields_pass(url: str) -> None:
    fields = {"tools": [], "presence_penalty": 0.0, "user": "me", "logit_bias": None, "seed": None}
    assert post(url, "chat/completions", CHAT | fields | {"max_tokens": 1}).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b"\xff\xfe",
        b'{"model": NaN}',
        b"[" * 90_000,
        b'{"model": "\\ud800"}',
        b'{"prompt": "a", "temperature": 1e999, "model": "m"}',
    ],
)
@pytest.mark.parametrize("path", ["chat/completions", "completions"])
def test_malformed_bodies_are_the_clients_fault(url: str, path: str, body: bytes) -> None:
    response = post(url, path, body)
    assert response.status_code == 400, response.text
    error_of(response)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
FIELDS = [*CHAT, *TEXT, "temperature", "top_p", "n", "stop", "seed", "stream", "max_tokens"]
FIELDS += ["logprobs", "top_logprobs", "echo", "stream_options", "reasoning"]


@given(
    st.sampled_from([("chat/completions", CHAT), ("completions", TEXT)]),
    st.dictionaries(st.sampled_from(FIELDS), JSON, min_size=1, max_size=3),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_odd_values_never_break_the_server(
    url: str, base: tuple[str, dict[str, Any]], changes: dict[str, Any]
) -> None:
    path, body = base
    response = post(url, path, body | {"max_tokens": 1} | changes)
    assert response.status_code in {200, 400, 404}, response.text


def test_paths_and_methods(url: str) -> None:
    missing = httpx.get(f"{url}/v1/nothing", headers=HEADERS)
    assert (missing.status_code, error_of(missing)["type"]) == (404, "not_found_error")
    method = httpx.get(f"{url}/v1/completions", headers=HEADERS)
    assert method.status_code == 405
    assert method.headers["allow"] == "POST"
    error_of(method)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic abc", f"Bearer {KEY}x"])
@pytest.mark.parametrize("path", ["models", "models/x"])
def test_no_entry_without_a_key(url: str, path: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    response = httpx.get(f"{url}/v1/{path}", headers=headers)
    assert response.status_code == 401
    assert KEY not in response.text
    error_of(response)
    assert post(url, "chat/completions", CHAT, headers).status_code == 401


def test_health_needs_no_key(url: str) -> None:
    response = httpx.get(f"{url}/healthz")
    assert (response.status_code, response.json()["status"]) == (200, "ok")


def test_the_clients_exception_classes(url: str, client: openai.OpenAI) -> None:
    messages: list[Any] = CHAT["messages"]
    with pytest.raises(openai.NotFoundError, match="tiny/astro") as missing:
        client.chat.completions.create(model="gpt-4", messages=messages)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4")
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model=MODEL, messages=messages, temperature=9)
    assert bad.value.param == "temperature"
    with client_for(url, "wrong") as stranger, pytest.raises(openai.AuthenticationError):
        stranger.models.list()


def test_a_large_body_is_refused(url: str) -> None:
    response = post(url, "completions", TEXT | {"prompt": "x" * 200_000})
    assert response.status_code == 413
    error_of(response)


def test_while_loading(engine: TransformersEngine) -> None:
    service = make_service(None)
    with serving(service) as url:
        health = httpx.get(f"{url}/healthz")
        assert (health.status_code, health.json()) == (503, {"status": "loading"})
        response = post(url, "chat/completions", CHAT)
        assert response.status_code == 503
        assert response.headers["retry-after"]
        assert error_of(response)["code"] == "loading"
        with client_for(url) as client, pytest.raises(openai.InternalServerError):
            client.models.list()
        service.engine = engine
        assert httpx.get(f"{url}/healthz").status_code == 200


def test_a_dead_engine_is_unhealthy(tiny_model: Path) -> None:
    engine = TransformersEngine.load(tiny_model, max_concurrent=2, threads=1)
    with serving(make_service(engine)) as url:
        engine.close()
        assert httpx.get(f"{url}/healthz").status_code == 503
        assert post(url, "completions", TEXT).status_code == 503


def test_a_model_without_chat_template(tiny_model: Path, tmp_path: Path) -> None:
    for file in tiny_model.iterdir():
        if file.name != "chat_template.jinja":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    engine = TransformersEngine.load(tmp_path, max_concurrent=1, threads=1)
    try:
        with serving(make_service(engine, Limits(max_tokens=4))) as url:
            error = error_of(post(url, "chat/completions", CHAT))
            assert error["param"] == "messages"
            assert "chat template" in error["message"]
            assert post(url, "completions", TEXT | {"max_tokens": 1}).status_code == 200
    finally:
        engine.close()
