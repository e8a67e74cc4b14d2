from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.serve.conftest import KEY, client_for

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
MESSAGES: list[Any] = [{"role": "user", "content": "What is a star?"}]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def url(tiny_model: Path) -> Iterator[str]:
    args = {
        "model": str(tiny_model),
        "modelId": "tiny",
        "keyHashes": [hashlib.sha256(KEY.encode()).hexdigest()],
        "maxConcurrent": 2,
        "maxQueue": 2,
        "maxTokens": 200,
        "numCpus": 1,
        "numGpus": 0,
    }
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    port = free_port()
    # Ray's socket paths must be short, so pytest's own temporary folder will not do.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        command = [sys.executable, "-m", "tests.serve.ray_server", str(port), folder]
        log = Path(folder) / "server.log"
        with log.open("w") as stderr:
            server = subprocess.Popen(
                [*command, json.dumps(args)],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
            assert server.stdin is not None
            assert server.stdout is not None
            try:
                lines = iter(server.stdout.readline, "")
                assert any(line.strip() == "READY" for line in lines), log.read_text()[-4000:]
                yield f"http://127.0.0.1:{port}"
            finally:
                server.stdin.close()
                server.stdout.close()
                assert server.wait(60) == 0, log.read_text()[-4000:]


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with client_for(url) as client:
        yield client


def ask(client: openai.OpenAI, **parameters: Any) -> Any:
    values: dict[str, Any] = {"model": "tiny", "messages": MESSAGES, "max_tokens": 30, "seed": 1}
    return client.chat.completions.create(**values | parameters)


def test_answers_and_streams_through_serve(url: str, client: openai.OpenAI) -> None:
    assert [m.id for m in client.models.list()] == ["tiny"]
    assert httpx.get(f"{url}/healthz").json()["status"] == "ok"
    text = ask(client).choices[0].message.content
    arrivals, streamed = [], ""
    for chunk in ask(client, stream=True, max_tokens=30):
        arrivals.append(time.perf_counter())
        streamed += chunk.choices[0].delta.content or ""
    assert streamed == text
    assert arrivals[-1] - arrivals[0] > 0.02  # it came while it was made, not all at the end


def test_errors_keep_their_shape_through_serve(url: str, client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        ask(client, temperature=7)
    assert bad.value.param == "temperature"
    with client_for(url, "wrong") as stranger, pytest.raises(openai.AuthenticationError):
        stranger.models.list()
    missing = httpx.get(f"{url}/nothing")
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "unknown_url"


def in_flight(url: str) -> int:
    count: int = httpx.get(f"{url}/healthz").json()["inFlight"]
    return count


def test_a_client_that_leaves_frees_its_slot(url: str, client: openai.OpenAI) -> None:
    stream = ask(client, stream=True, max_tokens=200)
    next(iter(stream))
    assert in_flight(url) == 1
    stream.close()
    deadline = time.monotonic() + 10
    while in_flight(url):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_flood_is_refused_by_the_server_itself(url: str, client: openai.OpenAI) -> None:
    def outcome(seed: int) -> str:
        try:
            return str(ask(client, seed=seed, max_tokens=150).choices[0].finish_reason)
        except openai.RateLimitError as error:
            return str(error.code)

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(outcome, range(16)))
    assert set(outcomes) <= {"length", "stop", "queue_full"}
    assert outcomes.count("queue_full") < len(outcomes)
    assert "queue_full" in outcomes
    assert in_flight(url) == 0
