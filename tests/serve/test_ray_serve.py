from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from astrosage.serve.keys import KeyRecord, digest
from astrosage.serve.usage import read
from tests.serve.conftest import KEY, client_for

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
HEADERS = {"Authorization": f"Bearer {KEY}"}
MESSAGES: list[Any] = [{"role": "user", "content": "What is a star?"}]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RayServer:
    """A model on a Ray cluster of its own.

    Args:
        folder: Short path for Ray's sockets and logs.
        args: The server's settings.
    """

    def __init__(self, folder: str, args: dict[str, Any]) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        port, self.metrics_port = free_port(), free_port()
        self.args, self.url = args, f"http://127.0.0.1:{port}"
        self._log = Path(folder) / "server.log"
        command = [sys.executable, "-m", "tests.serve.ray_server", str(port)]
        with self._log.open("w") as stderr:
            self._process = subprocess.Popen(
                [*command, str(self.metrics_port), folder, json.dumps(args)],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )

    def wait(self, word: str = "READY") -> str:
        """The line that begins so."""
        assert self._process.stdout is not None
        for line in iter(self._process.stdout.readline, ""):
            if line.startswith(word):
                return line.strip()
        raise AssertionError(self._log.read_text()[-4000:])

    def deploy(self, **changes: Any) -> None:
        """A new version, which has taken over when this returns."""
        self._tell(json.dumps(self.args | changes))
        self.wait()

    def replicas(self) -> int:
        """How many replicas there are."""
        self._tell("replicas")
        return int(self.wait("REPLICAS").split()[1])

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(90) == 0, self._log.read_text()[-4000:]

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


@contextlib.contextmanager
def ray_server(model: Path, **changes: Any) -> Iterator[RayServer]:
    args = {
        "model": str(model),
        "modelId": "tiny",
        "keyHashes": {"alice": digest(KEY)},
        "maxConcurrent": 2,
        "maxQueue": 2,
        "maxTokens": 200,
        "numCpus": 1,
        "numGpus": 0,
    }
    # Ray's socket paths must be short, so pytest's own temporary folder will not do.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        server = RayServer(folder, args | changes)
        try:
            server.wait()
            yield server
        finally:
            server.close()


@pytest.fixture(scope="module")
def server(tiny_model: Path) -> Iterator[RayServer]:
    with ray_server(tiny_model) as server:
        yield server


@pytest.fixture(scope="module")
def url(server: RayServer) -> str:
    return server.url


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
    assert len(missing.headers.get_list("x-request-id")) == 1
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "unknown_url"


def in_flight(url: str) -> int:
    count: int = httpx.get(f"{url}/healthz").json()["inFlight"]
    return count


def within(seconds: float, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"did not come about in {seconds} s"
        time.sleep(0.05)


def test_a_client_that_leaves_frees_its_slot(url: str, client: openai.OpenAI) -> None:
    stream = ask(client, stream=True, max_tokens=200)
    next(iter(stream))
    assert in_flight(url) == 1
    stream.close()
    within(10, lambda: in_flight(url) == 0)


def test_a_client_that_does_not_wait_for_a_whole_answer_frees_its_slot(
    url: str, client: openai.OpenAI
) -> None:
    with pytest.raises(openai.APITimeoutError):
        ask(client, max_tokens=200, n=2, timeout=0.05)
    within(10, lambda: in_flight(url) == 0)


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


def test_metrics_go_to_rays_agent(server: RayServer, client: openai.OpenAI) -> None:
    ask(client)

    def there() -> bool:
        text = httpx.get(f"http://127.0.0.1:{server.metrics_port}/metrics").text
        lines = [line for line in text.splitlines() if "alice" in line]
        return any(line.startswith("ray_astrosage_serve_requests") for line in lines) and (
            "ray_astrosage_serve_first_token_seconds_bucket" in text
            and "ray_astrosage_serve_cache_use" in text
        )

    within(60, there)
    assert httpx.get(f"{server.url}/metrics", headers=HEADERS).status_code == 404


@pytest.mark.parametrize("surge", [True, False])
def test_no_request_fails_while_a_new_version_takes_over(
    server: RayServer, client: openai.OpenAI, surge: bool
) -> None:
    """With two streams and two whole answers always under way."""
    server.deploy(surge=surge, version="before")
    before = client.models.retrieve("tiny").created
    done = threading.Event()
    patient = client.with_options(timeout=180)

    def keep_asking(number: int) -> int:
        parameters: dict[str, Any] = {"model": "tiny", "max_tokens": 150, "echo": True}
        count = 0
        while not done.is_set():
            prompt = f"Star {number}, time {count}:"
            if number % 2:
                choice = patient.completions.create(prompt=prompt, **parameters).choices[0]
                text, reason = choice.text, choice.finish_reason
            else:
                stream = patient.completions.create(prompt=prompt, **parameters, stream=True)
                chunks = [chunk.choices[0] for chunk in stream]
                text, reason = "".join(c.text for c in chunks), chunks[-1].finish_reason
            assert text.startswith(prompt)
            assert reason in ("stop", "length")
            count += 1
        return count

    with ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(keep_asking, number) for number in range(4)]
        time.sleep(1)
        try:
            server.deploy(surge=surge, version="after")
            time.sleep(3)
        finally:
            done.set()
        counts = [worker.result() for worker in workers]
    assert min(counts) > 1
    assert client.models.retrieve("tiny").created > before
    within(30, lambda: server.replicas() == 1)


def test_keys_are_revoked_without_a_restart(
    server: RayServer, tmp_path: Path, client: openai.OpenAI
) -> None:
    for name, key in (("alice", KEY), ("bob", "sk-bob")):
        (tmp_path / name).write_text(KeyRecord.of(key).text())
    server.deploy(keyHashes=[], keyFolder=str(tmp_path), usageFile=str(tmp_path / ".usage.json"))
    with client_for(server.url, "sk-bob") as bob:
        assert ask(bob).choices
        (tmp_path / "bob").unlink()

        def is_refused() -> bool:
            try:
                ask(bob)
            except openai.AuthenticationError:
                return True
            return False

        within(5, is_refused)
    assert ask(client).choices
    within(10, lambda: read(tmp_path / ".usage.json")["keys"].keys() == {"alice", "bob"})
    assert read(tmp_path / ".usage.json")["keys"]["bob"]["completionTokens"] > 0


def test_a_model_nobody_asks_is_unloaded_and_comes_back(tiny_model: Path) -> None:
    with (
        ray_server(tiny_model, minReplicas=0, idleSeconds=1) as server,
        client_for(server.url) as client,
    ):
        text = ask(client).choices[0].message.content
        within(90, lambda: server.replicas() == 0)
        # Serve holds the request while the model is loaded; nobody has to try again.
        assert ask(client, timeout=120).choices[0].message.content == text
