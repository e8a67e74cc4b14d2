"""Against a real HTTP server on loopback that misbehaves in the ways services do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from astrosage.bench import endpoint
from astrosage.bench.endpoint import EndpointScorer
from astrosage.bench.questions import Question
from astrosage.bench.tasks import Inputs, make
from astrosage.errors import AstroError, ClusterError, NotFoundError, SpecError
from astrosage.spec.stages import Endpoint

pytestmark = pytest.mark.api
Answer = tuple[int, dict[str, str], bytes]
INPUTS = Inputs(
    models={},
    questions=(Question("q", "Why?", ("yes", "no"), 0), Question("r", "How?", ("so", "thus"), 1)),
    documents=(),
    max_new_tokens=4,
)


class Service:
    """Answers every POST with what ``answer`` makes of its body; counts requests."""

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, Any]], Answer] = lambda body: (500, {}, b"")
        self.requests: list[tuple[str, dict[str, Any], str | None]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                service.requests.append((self.path, body, self.headers.get("authorization")))
                status, headers, content = service.answer(body)
                with suppress(ConnectionError):  # a client that has given up hangs up
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("content-length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr(endpoint, "_FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(endpoint, "_LONGEST_PAUSE_SECONDS", 0.02)
    found = Service()
    yield found
    found.server.shutdown()
    found.server.server_close()


def chat(text: str) -> Answer:
    body = {"choices": [{"message": {"content": text}}]}
    return 200, {"content-type": "application/json"}, json.dumps(body).encode()


def score(service: Service, work: Any = "generation", **options: Any) -> dict[int, Any]:
    scorer = EndpointScorer(Endpoint(url=service.url, model="m", **options), INPUTS)
    found: dict[int, Any] = {}
    for task, values in scorer.perform(make(INPUTS, [work], 8, ["model"])):
        found |= dict(zip(task.items, values, strict=True))
    return found


def test_answers_come_back_in_order(service: Service) -> None:
    service.answer = lambda body: chat("A" if "Why?" in str(body["messages"]) else " B ")
    assert score(service) == {0: "A", 1: "B"}
    path, body, _ = service.requests[0]
    assert path == "/v1/chat/completions"
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0, 4)


def test_trouble_that_passes_is_waited_for(service: Service) -> None:
    statuses = iter([429, 503, 500])

    def answer(body: dict[str, Any]) -> Answer:
        status = next(statuses, 200)
        return chat("A") if status == 200 else (status, {"retry-after": "0"}, b"busy")

    service.answer = answer
    assert score(service) == {0: "A", 1: "A"}
    assert len(service.requests) == 5


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ((500, {}, b"no"), ClusterError, "failed 6 times, last with status 500"),
        ((401, {}, b"{}"), SpecError, "refuses the key"),
        ((404, {}, b'{"error": {"message": "no model m"}}'), NotFoundError, "no model m"),
        ((400, {}, b'{"error": {"message": "too long"}}'), SpecError, "answers 400: too long"),
        ((200, {"content-type": "text/html"}, b"<html>"), SpecError, "text/html, not JSON"),
        ((200, {}, b'{"choices": []}'), SpecError, "no choices"),
    ],
)
def test_trouble_that_does_not_pass(
    service: Service, answer: Answer, error: type[AstroError], words: str
) -> None:
    service.answer = lambda body: answer
    with pytest.raises(error, match=words):
        score(service)


def test_nobody_listens(service: Service) -> None:
    service.server.shutdown()
    service.server.server_close()
    with pytest.raises(ClusterError, match="Connect"):
        score(service)


def test_likelihood_counts_the_option_s_tokens_only(service: Service) -> None:
    def answer(body: dict[str, Any]) -> Answer:
        assert body["echo"] is True
        offsets = list(range(len(body["prompt"])))  # a token for each character
        logs: list[float | None] = [None, *[-1.0] * (len(offsets) - 1), -50.0]
        found = {"text_offset": [*offsets, len(offsets)], "token_logprobs": logs}
        return 200, {}, json.dumps({"choices": [{"logprobs": found}]}).encode()

    service.answer = answer
    assert score(service, "likelihood") == {0: [-4.0, -3.0], 1: [-3.0, -5.0]}


def test_key_comes_from_the_environment(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(SpecError, match="SOME_KEY is not set"):
        score(service, api_key_env="SOME_KEY")
    monkeypatch.setenv("SOME_KEY", "secret")
    service.answer = lambda body: chat("A")
    score(service, api_key_env="SOME_KEY")
    assert service.requests[0][2] == "Bearer secret"
