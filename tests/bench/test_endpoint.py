"""Against a real HTTP server on loopback that misbehaves in the ways services do."""

from __future__ import annotations

import dataclasses
import gzip
import json
import logging
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from astrosage.bench.answers import Answer as Written
from astrosage.bench.endpoint import EndpointScorer
from astrosage.bench.question import Question
from astrosage.bench.tasks import Inputs, Writing, make
from astrosage.endpoints import service as transport
from astrosage.endpoints.kept import NAME, KeptAnswers
from astrosage.endpoints.spending import Purse
from astrosage.errors import AstroError, ClusterError, NotFoundError, SpecError
from astrosage.runs.storage import Storage
from astrosage.spec.bench import Budget, Endpoint
from tests.endpoints.fake_service import Answer, Service, chat, reply, right_half, stem

pytestmark = pytest.mark.api
TWO = Inputs(
    models={},
    questions=(Question("q", "Why?", ("yes", "no"), 0), Question("r", "How?", ("so", "thus"), 1)),
    writing=Writing(4),
)


def many(count: int) -> Inputs:
    return dataclasses.replace(
        TWO, questions=tuple(Question(f"q{i}", f"Why {i}?", ("a", "b"), 0) for i in range(count))
    )


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr(transport, "_FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(transport, "_LONGEST_PAUSE_SECONDS", 0.02)
    found = Service()
    yield found
    found.close()


def scorer(
    service: Service, folder: Path, inputs: Inputs = TWO, budget: Any = None, **options: Any
) -> EndpointScorer:
    endpoint = Endpoint.model_validate({"url": service.url, "model": "m", **options})
    kept = KeptAnswers(Storage(folder), endpoint.cache)
    limits = None if budget is None else Budget.model_validate(budget)
    purse = Purse(limits, endpoint.prices, kept, "spec.stages.score.bench", "mine")
    return EndpointScorer(endpoint, inputs, purse)


def score(found: EndpointScorer, inputs: Inputs = TWO, work: Any = "generation") -> dict[int, Any]:
    values: dict[int, Any] = {}
    for done in found.perform(make(inputs, [work], 4, ["model"])):
        values |= dict(zip(done.task.items, done.values, strict=True))
    return values


def written(values: dict[int, Any]) -> dict[int, str]:
    return {i: value.text for i, value in sorted(values.items())}


def test_answers_come_back_in_order(service: Service, tmp_path: Path) -> None:
    service.answer = lambda body: chat("A" if "Why?" in str(body["messages"]) else " B ")
    assert written(score(scorer(service, tmp_path))) == {0: "A", 1: "B"}
    path, body, _ = service.requests[0]
    assert path == "/v1/chat/completions"
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0, 4)
    assert "reasoning" not in body


def test_reasoning_is_asked_for_in_our_endpoint_s_words(service: Service, tmp_path: Path) -> None:
    service.answer = lambda body: chat("A")
    inputs = dataclasses.replace(TWO, writing=Writing(400, "off"))
    score(scorer(service, tmp_path, inputs), inputs)
    assert service.requests[0][1]["reasoning"] == "off"


def test_trouble_that_passes_is_waited_for(service: Service, tmp_path: Path) -> None:
    statuses = iter([429, 503, 500])

    def answer(body: dict[str, Any]) -> Answer:
        status = next(statuses, 200)
        return chat("A") if status == 200 else (status, {"retry-after": "0"}, b"busy")

    service.answer = answer
    found = scorer(service, tmp_path)
    assert written(score(found)) == {0: "A", 1: "A"}
    assert len(service.requests) == 5
    assert found.facts()["retries"] == 3


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_obeyed(service: Service, tmp_path: Path, form: str) -> None:
    times: list[float] = []

    def answer(body: dict[str, Any]) -> Answer:
        times.append(time.monotonic())
        if len(times) > 1:
            return chat("A")
        wait = "1" if form == "seconds" else formatdate(time.time() + 2, usegmt=True)
        return 429, {"retry-after": wait}, b""

    service.answer = answer
    one = dataclasses.replace(TWO, questions=TWO.questions[:1])
    score(scorer(service, tmp_path, one), one)
    assert 0.9 <= times[1] - times[0] < 4  # a date has whole seconds


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ((500, {}, b"no"), ClusterError, "failed 6 times, last with status 500"),
        ((401, {}, b"{}"), SpecError, "refuses the key"),
        ((404, {}, b'{"error": {"message": "no model m"}}'), NotFoundError, "no model m"),
        ((400, {}, b'{"error": {"message": "too long"}}'), SpecError, "answers 400: too long"),
        ((200, {"content-type": "text/html"}, b"<html>"), SpecError, "text/html, not JSON"),
        ((200, {}, b'{"choices": []}'), SpecError, "no choices"),
        ((200, {}, b'{"error": {"message": "asleep"}}'), SpecError, "an error: asleep"),
        ((200, {}, b"data: {}\n\ndata: [DONE]\n"), SpecError, "not JSON"),
        ((200, {}, b"\xff\xfe\x00garbage"), SpecError, "not JSON"),
        ((200, {}, b"[" * 100_000), SpecError, "not JSON"),
        ((200, {"content-encoding": "gzip"}, b"no gzip"), ClusterError, "DecodingError"),
        ((200, {"transfer-encoding": "chunked"}, b"no chunk"), ClusterError, "ProtocolError"),
        ((301, {"location": "/elsewhere"}, b""), SpecError, "answers 301"),
    ],
)
def test_trouble_that_does_not_pass(
    service: Service, tmp_path: Path, answer: Answer, error: type[AstroError], words: str
) -> None:
    service.answer = lambda body: answer
    with pytest.raises(error, match=words) as caught:
        score(scorer(service, tmp_path))
    assert caught.value.hint


def test_nobody_listens(service: Service, tmp_path: Path) -> None:
    service.close()
    with pytest.raises(ClusterError, match="Connect"):
        score(scorer(service, tmp_path))


def test_one_question_that_is_never_answered_costs_one_question(
    service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(body: dict[str, Any]) -> Answer:
        if stem(body) == "Why 3?":
            return 200, {"content-type": "text/html"}, b"<html>gateway</html>"
        if stem(body) == "Why 5?":
            return reply({"error": {"message": "content filtered"}})
        return chat("A")

    service.answer = answer
    inputs = many(12)
    found = scorer(service, tmp_path, inputs)
    with caplog.at_level(logging.WARNING):
        values = score(found, inputs)
    assert values[3] == Written("", problem="text/html, not JSON")
    assert values[5].problem == "an error: content filtered"
    assert sum(v.text == "A" for v in values.values()) == 10
    facts = found.facts()
    assert (facts["failed"], facts["asked"]) == (2, 12)
    assert facts["problems"] == {"text/html, not JSON": 1, "an error: content filtered": 1}
    assert "content filtered" in caplog.text
    # Each was asked for three times, and is asked for again when the run goes on.
    assert len(service.requests) == 10 + 6
    service.requests.clear()
    service.answer = lambda body: chat("A")
    assert score(scorer(service, tmp_path, inputs), inputs)[3].text == "A"
    assert len(service.requests) == 2


def test_a_service_that_breaks_on_the_way_stops_the_stage(service: Service, tmp_path: Path) -> None:
    service.answer = lambda body: chat("A") if len(service.requests) < 9 else (200, {}, b"<html>")
    inputs = many(60)
    with pytest.raises(ClusterError, match=r"gave no answer to \d+ of \d+ requests") as caught:
        score(scorer(service, tmp_path, inputs, concurrency=1), inputs)
    assert "what it has answered is kept" in caught.value.hint
    assert len(KeptAnswers(Storage(tmp_path))._answers) == 8


def test_likelihood_counts_the_option_s_tokens_only(service: Service, tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> Answer:
        assert body["echo"] is True
        offsets = list(range(len(body["prompt"])))  # a token for each character
        logs: list[float | None] = [None, *[-1.0] * (len(offsets) - 1), -50.0]
        found = {"text_offset": [*offsets, len(offsets)], "token_logprobs": logs}
        return reply({"choices": [{"logprobs": found}]})

    service.answer = answer
    values = score(scorer(service, tmp_path), work="likelihood")
    assert values == {0: [-4.0, -3.0], 1: [-3.0, -5.0]}
    values = score(scorer(service, tmp_path), work="letter")
    assert values == {0: [-2.0, -2.0], 1: [-2.0, -2.0]}
    asked = {body["prompt"] for _, body, _ in service.requests}
    assert "How?\nA. so\nB. thus\nAnswer: B" in asked


def test_a_service_without_log_probabilities_is_named(service: Service, tmp_path: Path) -> None:
    service.answer = lambda body: reply({"choices": [{"text": "yes"}]})
    with pytest.raises(SpecError, match="does not give the prompt's log-probabilities") as caught:
        score(scorer(service, tmp_path), work="letter")
    assert "leave `likelihood` and `letter` out" in caught.value.hint


def test_key_comes_from_the_environment(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(SpecError, match="SOME_KEY is not set"):
        scorer(service, tmp_path, apiKeyEnv="SOME_KEY")
    monkeypatch.setenv("SOME_KEY", "secret")
    service.answer = lambda body: chat("A")
    score(scorer(service, tmp_path, apiKeyEnv="SOME_KEY"))
    assert service.requests[0][2] == "Bearer secret"
    assert "secret" not in (tmp_path / NAME).read_text()


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_requests_at_once_than_allowed(
    service: Service, tmp_path: Path, concurrency: int
) -> None:
    service.answer, service.delay = right_half, 0.01
    inputs = many(24)
    score(scorer(service, tmp_path, inputs, concurrency=concurrency), inputs)
    assert service.at_once == concurrency


def test_the_number_of_requests_at_once_changes_no_answer(service: Service, tmp_path: Path) -> None:
    service.answer, service.delay = right_half, 0.002
    inputs = many(30)
    found = [
        score(scorer(service, tmp_path / str(n), inputs, concurrency=n), inputs) for n in (1, 16)
    ]
    assert found[0] == found[1]


def test_a_run_goes_on_at_the_question_where_it_stopped(service: Service, tmp_path: Path) -> None:
    inputs = many(20)
    service.answer = lambda body: chat("A") if len(service.requests) <= 7 else (401, {}, b"{}")
    with pytest.raises(SpecError, match="refuses the key"):
        score(scorer(service, tmp_path, inputs, concurrency=1), inputs)
    service.requests.clear()
    service.answer = lambda body: chat("B")
    found = scorer(service, tmp_path, inputs)
    values = written(score(found, inputs))
    assert sorted(values.values()) == ["A"] * 7 + ["B"] * 13
    assert len(service.requests) == 13
    assert (found.facts()["reused"], found.facts()["asked"]) == (7, 13)
    # Another model, prompt or number of tokens is another question.
    service.requests.clear()
    longer = dataclasses.replace(inputs, writing=Writing(5))
    score(scorer(service, tmp_path, longer), longer)
    assert len(service.requests) == 20


def test_runs_may_share_answers(service: Service, tmp_path: Path) -> None:
    service.answer = right_half
    cache = str(tmp_path / "shared.jsonl")
    first = score(scorer(service, tmp_path / "one", cache=cache))
    service.requests.clear()
    found = scorer(service, tmp_path / "two", cache=cache, budget={"tokens": 1})
    assert score(found) == first
    assert service.requests == []


PRICES = {"inputPerMillion": 1.0, "outputPerMillion": 2.0}


@pytest.mark.parametrize(
    ("budget", "spent"),
    [({"tokens": 100}, "100 of 100 tokens"), ({"usd": 0.00011}, "0.00012 of 0.00011 USD")],
)
def test_a_budget_stops_with_what_is_there_kept(
    service: Service, tmp_path: Path, budget: dict[str, float], spent: str
) -> None:
    service.answer = right_half  # 20 tokens read and 5 written: 30 millionths of a dollar
    inputs = many(20)
    with pytest.raises(SpecError) as caught:
        score(
            scorer(service, tmp_path, inputs, budget=budget, concurrency=1, prices=PRICES), inputs
        )
    name = next(iter(budget))
    assert f"spec.stages.score.bench.budget.{name}: the budget is used up" in caught.value.message
    assert spent in caught.value.message
    assert "4 of 20 questions are answered, and kept" in caught.value.message
    assert (
        f"`astroctl resume mine --set spec.stages.score.bench.budget.{name}=…`" in caught.value.hint
    )
    assert not caught.value.retryable
    assert len(service.requests) == 4
    # What was spent counts when the run goes on, and nothing is asked twice.
    with pytest.raises(SpecError, match="4 of 20 questions"):
        score(
            scorer(service, tmp_path, inputs, budget=budget, concurrency=1, prices=PRICES), inputs
        )
    assert len(service.requests) == 4
    assert len(score(scorer(service, tmp_path, inputs), inputs)) == 20
    assert len(service.requests) == 20


def test_what_is_under_way_when_a_budget_ends_is_kept(service: Service, tmp_path: Path) -> None:
    service.answer, service.delay = right_half, 0.05
    inputs = many(40)
    with pytest.raises(SpecError, match="used up"):
        score(scorer(service, tmp_path, inputs, budget={"tokens": 1}, concurrency=6), inputs)
    assert len(service.requests) == 6
    assert len((tmp_path / NAME).read_text().splitlines()) == 6


def test_a_service_that_changes_under_way_is_told(
    service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(body: dict[str, Any]) -> Answer:
        late = len(service.requests) > 3
        return chat("A", model="m-2" if late else "m-1", system_fingerprint="f")

    service.answer = answer
    inputs = many(6)
    found = scorer(service, tmp_path, inputs, concurrency=1)
    with caplog.at_level(logging.WARNING):
        score(found, inputs)
    facts = found.facts()
    assert facts["changed"]
    assert facts["models"] == {"m-1": 3, "m-2": 3}
    assert facts["fingerprints"] == {"f": 6}
    assert caplog.text.count("the service's model changed from m-1 to m-2") == 1


def test_empty_and_cut_answers_are_counted(service: Service, tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> Answer:
        choice: dict[str, Any] = {"message": {"content": ""}, "finish_reason": "stop"}
        if stem(body) == "How?":
            message = {"content": None, "reasoning_content": "so so"}
            choice = {"message": message, "finish_reason": "length"}
        return reply({"choices": [choice]})

    service.answer = answer
    found = scorer(service, tmp_path)
    values = score(found)
    assert values[0] == Written("")
    assert values[1].thinking
    facts = found.facts()
    assert (facts["empty"], facts["cut"], facts["limited"]) == (1, 1, 1)
    assert facts["estimatedUsage"] == 2


def test_usage_of_all_answers_is_added_up(service: Service, tmp_path: Path) -> None:
    service.answer = right_half
    inputs = many(10)
    for _ in range(2):  # kept answers cost what they cost
        found = scorer(service, tmp_path, inputs)
        done = list(found.perform(make(inputs, ["generation"], 4, ["model"])))
        assert sum(d.usage.prompt for d in done) == 200
        assert sum(d.usage.completion for d in done) == 50


def test_compressed_replies_are_read(service: Service, tmp_path: Path) -> None:
    packed = gzip.compress(json.dumps({"choices": [{"message": {"content": "A"}}]}).encode())
    service.answer = lambda body: (200, {"content-encoding": "gzip"}, packed)
    assert written(score(scorer(service, tmp_path))) == {0: "A", 1: "A"}
