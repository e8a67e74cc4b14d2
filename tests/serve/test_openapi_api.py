"""The description is true, and whatever comes in, what goes out is as it says."""

from __future__ import annotations

import contextlib
import functools
import json
import socket
from typing import Any

import httpx
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astrosage.serve.limits import Limits
from astrosage.serve.openapi import describe
from tests.serve.conftest import KEY, MODEL
from tests.serve.from_schema import ODD, TEXT, values

pytestmark = pytest.mark.api

HEADERS = {"Authorization": f"Bearer {KEY}"}
LIMITS = Limits(max_tokens=200, max_body_bytes=100_000)
DESCRIPTION = describe(LIMITS)
PATHS = {"/v1/chat/completions": "ChatBody", "/v1/completions": "CompletionBody"}
# Refusals of bodies that have the right form: no schema can tell how many tokens a text has.
MEANING = {
    "context_length_exceeded",
    "invalid_token",
    "too_many_sequences",
    "max_tokens_too_large",
    "empty_prompt",
}
FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def validator(schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**schema, "components": DESCRIPTION["components"]})


@functools.cache
def body_validator(path: str) -> jsonschema.Draft202012Validator:
    return validator({"$ref": f"#/components/schemas/{PATHS[path]}"})


def check(method: str, path: str, response: httpx.Response) -> None:
    """The response is one that the description has."""
    operation = DESCRIPTION["paths"][path][method]
    documented = operation["responses"].get(str(response.status_code))
    assert documented, f"{response.status_code}: {response.text[:300]}"
    kind = response.headers["content-type"].partition(";")[0]
    assert kind in documented["content"]
    if kind == "application/json":
        validator(documented["content"][kind]["schema"]).validate(response.json())


@functools.cache
def bodies(path: str) -> st.SearchStrategy[dict[str, Any]]:
    schema = DESCRIPTION["components"]["schemas"][PATHS[path]]
    small = {"max_tokens": st.integers(1, 3), "model": st.just(MODEL), "n": st.integers(1, 2)}
    return st.builds(
        lambda base, quick: base | quick,
        values(schema, DESCRIPTION),
        st.fixed_dictionaries({n: s for n, s in small.items() if n in schema["properties"]}),
    ).filter(body_validator(path).is_valid)


@pytest.fixture(scope="module")
def http(url: str) -> Any:
    with httpx.Client(base_url=url, headers=HEADERS, timeout=30) as client:
        yield client


def test_the_description_is_served_and_is_sound(url: str) -> None:
    found = httpx.get(f"{url}/openapi.json").json()
    assert found == json.loads(json.dumps(DESCRIPTION))
    for schema in found["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    references = json.dumps(found).split('"$ref": "#/components/schemas/')[1:]
    assert {r.partition('"')[0] for r in references} <= set(found["components"]["schemas"])


@pytest.mark.parametrize("path", list(PATHS))
def test_what_the_description_allows_is_accepted(http: httpx.Client, path: str) -> None:
    @given(bodies(path))
    @FUZZ
    def run(body: dict[str, Any]) -> None:
        response = http.post(path, json=body)
        check("post", path, response)
        if response.status_code != 200:
            error = response.json()["error"]
            assert response.status_code == 400
            assert error["code"] in MEANING or error["param"] == "messages", response.text

    run()


@pytest.mark.parametrize("path", list(PATHS))
def test_what_the_description_forbids_is_never_the_servers_fault(
    http: httpx.Client, path: str
) -> None:
    names = list(DESCRIPTION["components"]["schemas"][PATHS[path]]["properties"])
    changes = st.dictionaries(st.sampled_from(names) | TEXT, ODD, min_size=1, max_size=3)

    @given(bodies(path), changes)
    @FUZZ
    def run(body: dict[str, Any], odd: dict[str, Any]) -> None:
        changed = body | odd
        response = http.post(path, json=changed)
        check("post", path, response)
        if not body_validator(path).is_valid(changed):
            assert response.status_code in (400, 404) or "max_tokens" in changed, response.text

    run()


@pytest.mark.parametrize("path", list(PATHS))
@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "%s", "seed": %s}' % (MODEL.encode(), b"9" * 5000),
        b'{"model": "%s", "temperature": -%s.5e99999}' % (MODEL.encode(), b"9" * 5000),
        b'{"model": "\\ud800"}',
        b'{"model": "\\udfff\\ud800", "prompt": "\\ud83d", "messages": []}',
        b'{"model": NaN, "temperature": -Infinity}',
        b'{"a":' * 20_000,
        b"[" * 50_000 + b"]" * 50_000,
        b'{"messages": ' + b"[" * 200 + b"]" * 200 + b"}",
        b'{"model": "x", "model": "y"}',
        b"\xef\xbb\xbf{}",
        b"\x00" * 100,
        b"\xff\xfe{\x00}\x00",
        b'{"\x00": 1}',
        b'{"stop": [' + b'"a",' * 20_000 + b'"a"]}',
    ],
)
def test_bodies_that_are_meant_badly(http: httpx.Client, path: str, body: bytes) -> None:
    response = http.post(path, content=body)
    assert response.status_code == 400, response.text
    check("post", path, response)


@pytest.mark.parametrize("chunked", [True, False])
def test_ten_megabytes_are_refused_early(url: str, chunked: bool) -> None:
    big = b'{"prompt": "' + b"x" * (10 << 20) + b'"}'
    content: Any = (big[i : i + 65536] for i in range(0, len(big), 65536)) if chunked else big
    try:
        response = httpx.post(f"{url}/v1/completions", content=content, headers=HEADERS, timeout=30)
    except httpx.TransportError:
        # The server answers and closes without reading on; which of the two a client sees first
        # is a matter of luck. Nothing else may have happened to it.
        assert httpx.get(f"{url}/healthz").status_code == 200
        return
    assert response.status_code == 413
    check("post", "/v1/completions", response)


HEADER_VALUES = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40
)
HEADER_NAMES = st.sampled_from(
    [
        *("Authorization", "Content-Type", "Accept", "X-Request-Id", "X-Forwarded-For", "Expect"),
        *("Content-Encoding", "Origin", "Range", "If-None-Match", "Cookie", "X-Odd"),
    ]
)


@given(st.dictionaries(HEADER_NAMES, HEADER_VALUES, min_size=1))
@FUZZ
def test_odd_headers(http: httpx.Client, headers: dict[str, str]) -> None:
    raw = [(n.encode(), value.strip().encode("latin-1")) for n, value in headers.items()]
    body = {"model": MODEL, "prompt": "A", "max_tokens": 1}
    response = http.post("/v1/completions", json=body, headers=raw)
    assert response.status_code in (200, 401), response.text
    check("post", "/v1/completions", response)


@given(TEXT)
@FUZZ
def test_odd_paths(http: httpx.Client, name: str) -> None:
    response = http.get("/v1/models/" + "".join(f"%{byte:02x}" for byte in name.encode()))
    assert response.status_code in (200, 404), response.text
    if response.status_code == 404:
        validator({"$ref": "#/components/schemas/Error"}).validate(response.json())


def raw_request(url: str, head: bytes) -> bytes:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head)
        return connection.recv(200)


POST = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /v1/models HTTP/9.9\r\n\r\n",
        POST + b"Content-Length: -5\r\n\r\n",
        POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
    ],
)
def test_what_is_not_http_does_no_harm(url: str, head: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        answer = raw_request(url, head)
        assert not answer or answer.startswith((b"HTTP/1.1 2", b"HTTP/1.1 4")), answer
    assert httpx.get(f"{url}/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/v1/models", f"/v1/models/{MODEL}", "/healthz"])
def test_what_is_read_is_as_described(http: httpx.Client, path: str) -> None:
    described = "/v1/models/{name}" if path.endswith(MODEL) else path
    check("get", described, http.get(path))
