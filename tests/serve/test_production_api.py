"""Limits, timeouts, metrics, usage and the access log, over HTTP."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from astrosage.errors import StorageError
from astrosage.serve.access_log import AccessLog
from astrosage.serve.auth import KeyRing
from astrosage.serve.card import Card
from astrosage.serve.keys import Rates, digest
from astrosage.serve.limits import Limits
from astrosage.serve.metrics import prometheus_meters
from astrosage.serve.observe import Watch
from astrosage.serve.service import Service
from astrosage.serve.transformers_engine import TransformersEngine
from astrosage.serve.usage import UsageFile, read
from tests.serve.conftest import MODEL, client_for, serving
from tests.serve.test_concurrency_api import eventually

pytestmark = pytest.mark.api

KEYS = {"alice": "sk-alice", "bob": "sk-bob"}
ALICE = {"Authorization": "Bearer sk-alice"}
TEXT: dict[str, Any] = {"model": MODEL, "prompt": "A star", "max_tokens": 5, "temperature": 0}


def service_with(
    engine: TransformersEngine, limits: Limits | None = None, **options: Any
) -> Service:
    ring = KeyRing({name: digest(key) for name, key in KEYS.items()})
    service = Service(MODEL, limits or Limits(max_tokens=200), ring, **options)
    service.engine = engine
    return service


def complete(url: str, headers: dict[str, str] = ALICE, **changes: Any) -> httpx.Response:
    return httpx.post(f"{url}/v1/completions", json=TEXT | changes, headers=headers, timeout=30)


def stream_lines(url: str, headers: dict[str, str] = ALICE, **changes: Any) -> Iterator[Any]:
    body = TEXT | {"stream": True} | changes
    with httpx.stream("POST", f"{url}/v1/completions", json=body, headers=headers) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                yield json.loads(line.removeprefix("data: "))


def test_requests_a_minute(engine: TransformersEngine) -> None:
    service = service_with(engine, rates=Rates(requests_per_minute=2))
    with serving(service) as url:
        first = complete(url)
        assert first.headers["x-ratelimit-limit-requests"] == "2"
        assert first.headers["x-ratelimit-remaining-requests"] == "1"
        assert complete(url, max_tokens=-1).status_code == 400  # counts too
        with client_for(url, "sk-alice") as client, pytest.raises(openai.RateLimitError) as refused:
            client.completions.create(**TEXT)
        assert refused.value.code == "rate_limit_exceeded"
        assert 1 <= int(refused.value.response.headers["retry-after"]) <= 30
        assert refused.value.response.headers["x-ratelimit-remaining-requests"] == "0"
        assert complete(url, {"Authorization": "Bearer sk-bob"}).status_code == 200
        assert httpx.get(f"{url}/v1/models", headers=ALICE).status_code == 200


@pytest.mark.parametrize("stream", [True, False])
def test_tokens_a_minute_count_what_was_used(engine: TransformersEngine, stream: bool) -> None:
    service = service_with(engine, rates=Rates(tokens_per_minute=210))
    prompt = len(engine.tokens.encode(TEXT["prompt"]))
    with serving(service) as url:
        for _ in range(3):  # each may need nearly all, and uses little
            answer = complete(url, stream=stream, max_tokens=190, stop=["e", "a", " ", "t"])
            assert answer.status_code == 200
        left = int(complete(url, max_tokens=1).headers["x-ratelimit-remaining-tokens"])
        assert 100 < left < 210 - prompt
        never = complete(url, max_tokens=200, prompt="A star " * 10)
        assert (never.status_code, never.json()["error"]["param"]) == (400, "prompt")
        complete(url, max_tokens=100)
        refused = complete(url, max_tokens=200)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["x-ratelimit-reset-tokens"]
    assert service.admission.in_flight == 0


@pytest.mark.parametrize("path", ["completions", "chat/completions"])
def test_an_answer_that_takes_too_long(engine: TransformersEngine, path: str) -> None:
    limits = Limits(max_tokens=200, request_timeout=0.05)
    body = {"model": MODEL, "max_tokens": 200, "temperature": 0}
    body |= (
        {"prompt": "A star"}
        if path == "completions"
        else {
            "messages": [{"role": "user", "content": "A star"}]  # type: ignore[dict-item]
        }
    )
    service = service_with(engine, limits)
    with serving(service) as url:
        late = httpx.post(f"{url}/v1/{path}", json=body, headers=ALICE, timeout=30)
        assert (late.status_code, late.json()["error"]["code"]) == (504, "timeout")
        eventually(lambda: not engine._running)
        with httpx.stream(
            "POST", f"{url}/v1/{path}", json=body | {"stream": True}, headers=ALICE
        ) as answer:
            assert answer.status_code == 200
            lines = [line for line in answer.iter_lines() if line]
        assert json.loads(lines[-1].removeprefix("data: "))["error"]["code"] == "timeout"
        eventually(lambda: not engine._running and service.admission.in_flight == 0)


def test_a_wait_that_takes_too_long(tiny_model: Path) -> None:
    engine = TransformersEngine.load(tiny_model, max_concurrent=1, threads=1)
    service = service_with(engine, Limits(1, 4, max_tokens=200, queue_timeout=0.05))
    try:
        with serving(service) as url:
            running = stream_lines(url, max_tokens=200)
            next(running)
            refused = complete(url)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "queue_timeout")
            assert refused.headers["retry-after"]
            (event,) = stream_lines(url)
            assert event["error"]["code"] == "queue_timeout"
            assert sum(1 for _ in running) > 100  # whoever had begun goes on
            assert complete(url).status_code == 200
            eventually(lambda: service.admission.in_flight == 0)
    finally:
        engine.close()


def test_a_client_that_does_not_read_loses_its_place(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("astrosage.serve.streaming._SENDING_SECONDS", 0.1)
    service = service_with(engine, Limits(max_tokens=200, request_timeout=0.3))
    body = TEXT | {"stream": True, "max_tokens": 200, "n": 4, "logprobs": 20}
    with (
        serving(service) as url,
        httpx.stream("POST", f"{url}/v1/completions", json=body, headers=ALICE) as answer,
    ):
        assert answer.status_code == 200
        time.sleep(0.1)
        eventually(lambda: service.admission.in_flight == 0)
        eventually(lambda: not engine._running)


@pytest.fixture
def watched(engine: TransformersEngine, tmp_path: Path) -> Iterator[tuple[Service, str, Path]]:
    watch = Watch(
        prometheus_meters(),
        AccessLog(str(tmp_path / "access.jsonl")),
        UsageFile(tmp_path / "usage.json"),
    )
    service = service_with(engine, watch=watch)
    with serving(service) as url:
        yield service, url, tmp_path
    watch.close()


def entries(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "access.jsonl").read_text().splitlines()]


def test_every_request_has_a_line(watched: tuple[Service, str, Path]) -> None:
    _, url, folder = watched
    answer = complete(url)
    list(stream_lines(url, n=2))
    complete(url, {"Authorization": "Bearer sk-secret"})
    httpx.get(f"{url}/v1/x%0a%22y\u2028" + "z" * 300)
    eventually(lambda: len(entries(folder)) == 4)
    whole, streamed, stranger, missing = entries(folder)
    assert whole["id"] == answer.headers["x-request-id"]
    assert (whole["key"], whole["status"], whole["path"]) == ("alice", 200, "/v1/completions")
    assert (whole["promptTokens"], whole["completionTokens"]) == (
        answer.json()["usage"]["prompt_tokens"],
        5,
    )
    assert 0 <= whole["seconds"]["queue"] <= whole["seconds"]["firstToken"]
    assert whole["seconds"]["firstToken"] <= whole["seconds"]["total"] < 30
    assert streamed["completionTokens"] == 10
    assert (stranger["key"], stranger["status"]) == (None, 401)
    assert missing["status"] == 404
    assert len(missing["path"]) == 200
    text = (folder / "access.jsonl").read_text()
    assert text.isascii()
    assert "A star" not in text
    assert not any(key in text for key in (*KEYS.values(), "sk-secret"))
    assert stat.S_IMODE((folder / "access.jsonl").stat().st_mode) == 0o600


def test_a_request_that_has_a_name_keeps_it(watched: tuple[Service, str, Path]) -> None:
    _, url, folder = watched
    answer = complete(url, ALICE | {"X-Request-Id": "from-the-proxy"})
    assert "x-request-id" not in answer.headers  # the proxy adds it
    complete(url, ALICE | {"X-Request-Id": "x" * 5000})
    eventually(lambda: len(entries(folder)) == 2)
    assert [line["id"] for line in entries(folder)] == ["from-the-proxy", "x" * 100]


def test_a_client_that_left_has_a_line_too(watched: tuple[Service, str, Path]) -> None:
    _, url, folder = watched
    events = stream_lines(url, max_tokens=200)
    next(events)
    events.close()
    eventually(lambda: (folder / "access.jsonl").stat().st_size > 0)
    (line,) = entries(folder)
    assert line["status"] == 499
    assert 0 < line["completionTokens"] < 200


def test_prompts_are_logged_only_if_asked_for(engine: TransformersEngine, tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "access.jsonl"))
    with serving(service_with(engine, watch=Watch(log=log, log_prompts=True))) as url:
        complete(url)
    assert entries(tmp_path)[0]["prompt"] == ["A star"]


def test_a_log_that_cannot_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="accessLog"):
        AccessLog(str(tmp_path / "none" / "log"))


def test_a_log_that_fails_later_costs_no_answer(
    engine: TransformersEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    log = AccessLog(str(folder / "log"))
    (folder / "log").unlink()
    folder.rmdir()
    with serving(service_with(engine, watch=Watch(log=log))) as url:
        assert complete(url).status_code == 200
    assert "accessLog" in caplog.text


def test_usage_by_key(watched: tuple[Service, str, Path]) -> None:
    service, url, folder = watched
    prompt = complete(url).json()["usage"]["prompt_tokens"]
    complete(url)
    complete(url, max_tokens=0)  # refused: read nothing
    complete(url, {"Authorization": "Bearer sk-bob"}, max_tokens=0, echo=True, logprobs=1)
    httpx.get(f"{url}/v1/models", headers=ALICE)
    service.watch.close()
    found = read(folder / "usage.json")
    assert found["since"]
    alice, bob = found["keys"]["alice"], found["keys"]["bob"]
    assert (alice["requests"], alice["promptTokens"], alice["completionTokens"]) == (
        *(3, 2 * prompt),
        10,
    )
    assert (bob["requests"], bob["promptTokens"], bob["completionTokens"]) == (1, prompt, 0)
    assert "sk-" not in (folder / "usage.json").read_text()


def test_usage_of_several_replicas_adds_up(tmp_path: Path) -> None:
    replicas = [UsageFile(tmp_path / "usage.json") for _ in range(3)]
    for i in range(30):
        replicas[i % 3].add("alice", 2, 1)
    for replica in replicas:
        replica.close()
        replica.close()
    assert read(tmp_path / "usage.json")["keys"]["alice"]["promptTokens"] == 60


def values(url: str, headers: dict[str, str] = ALICE) -> dict[tuple[str, str], float]:
    text = httpx.get(f"{url}/metrics", headers=headers).text
    return {
        (sample.name, ",".join(v for _, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics(watched: tuple[Service, str, Path]) -> None:
    _, url, _ = watched
    prompt = complete(url).json()["usage"]["prompt_tokens"]
    list(stream_lines(url))
    complete(url, {})
    for i in range(20):
        httpx.get(f"{url}/probe/{i}")
    found = values(url)
    requests = "astrosage_serve_requests_total"
    assert found[requests, "alice,/v1/completions,200"] == 2
    assert found[requests, ",/v1/completions,401"] == 1
    assert found[requests, ",other,404"] == 20
    assert found["astrosage_serve_prompt_tokens_total", "alice"] == 2 * prompt
    assert found["astrosage_serve_completion_tokens_total", "alice"] == 10
    assert found["astrosage_serve_first_token_seconds_count", ""] == 2
    assert found["astrosage_serve_queue_seconds_count", ""] == 2
    assert found["astrosage_serve_inter_token_seconds_count", ""] == 8
    assert found["astrosage_serve_in_flight", ""] == 0
    assert 0 <= found["astrosage_serve_cache_use", ""] <= 1
    assert not any("sk-" in labels for _, labels in found)


def test_metrics_want_a_key(watched: tuple[Service, str, Path], engine: TransformersEngine) -> None:
    _, url, _ = watched
    assert httpx.get(f"{url}/metrics").status_code == 401
    without = Service(MODEL, Limits(), None, watch=Watch(prometheus_meters()))
    without.engine = engine
    with serving(without) as url:
        assert httpx.get(f"{url}/metrics").status_code == 404
        assert complete(url, {}).status_code == 200
    with serving(service_with(engine)) as url:
        assert httpx.get(f"{url}/metrics", headers=ALICE).status_code == 404


def test_the_card_is_for_those_with_a_key(engine: TransformersEngine) -> None:
    card = Card(base="smollm2", lineage=["cpt", "sft"])
    with serving(service_with(engine, card=card)) as url:
        found = httpx.get(f"{url}/v1/models", headers=ALICE).json()["data"][0]
        assert found["card"] == {"base": "smollm2", "lineage": ["cpt", "sft"]}
        assert "smollm2" not in httpx.get(url).text
