from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from astrosage.serve.limits import Limits
from astrosage.serve.service import Service
from astrosage.serve.transformers_engine import TransformersEngine
from tests.serve.conftest import KEY, MODEL, client_for, make_service, serving

pytestmark = pytest.mark.api

HEADERS = {"Authorization": f"Bearer {KEY}"}
LONG: dict[str, Any] = {"model": MODEL, "prompt": "A star", "max_tokens": 200, "temperature": 0}


@pytest.fixture
def small(engine: TransformersEngine) -> Iterator[tuple[Service, str]]:
    """A server that takes two sequences: one that runs and one that waits."""
    service = make_service(engine, Limits(max_concurrent=1, max_queue=1, max_tokens=200))
    with serving(service) as url:
        yield service, url


def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("did not come about in 5 s")


def test_twenty_mixed_requests_each_get_their_own_answer(client: openai.OpenAI) -> None:
    def ask(i: int) -> Any:
        if i % 4 == 3:
            scored = client.completions.create(
                model=MODEL, prompt=f"Planet {i}", max_tokens=0, echo=True, logprobs=1
            )
            return scored.choices[0].logprobs
        messages: list[Any] = [{"role": "user", "content": f"Star number {i}?"}]
        parameters: dict[str, Any] = {
            "model": MODEL,
            "messages": messages,
            "max_tokens": 10 + 3 * i,
            "seed": i,
            "temperature": 0.0 if i % 5 == 0 else 0.9,
            "stop": ["th"] if i % 3 == 0 else None,
        }
        if i % 2:
            chunks = client.chat.completions.create(**parameters, stream=True)
            return "".join(c.choices[0].delta.content or "" for c in chunks)
        return client.chat.completions.create(**parameters).choices[0].message.content

    alone = [ask(i) for i in range(20)]
    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(ask, range(20))) == alone


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_slot(
    small: tuple[Service, str], engine: TransformersEngine, stream: bool
) -> None:
    service, url = small
    with httpx.Client(headers=HEADERS) as client:
        if stream:
            with client.stream("POST", f"{url}/v1/completions", json=LONG | {"stream": True}) as r:
                lines = r.iter_lines()  # dropping the iterator would already close the stream
                next(lines)
                assert service.admission.in_flight == 1
        else:
            with pytest.raises(httpx.ReadTimeout):
                client.post(f"{url}/v1/completions", json=LONG, timeout=0.05)
    eventually(lambda: service.admission.in_flight == 0)
    eventually(lambda: not engine._running)


def test_a_full_queue_is_said_at_once(small: tuple[Service, str]) -> None:
    service, url = small
    with httpx.Client(headers=HEADERS) as raw, client_for(url) as client:
        with (
            raw.stream("POST", f"{url}/v1/completions", json=LONG | {"stream": True}) as one,
            raw.stream("POST", f"{url}/v1/completions", json=LONG | {"stream": True}) as two,
        ):
            assert one.status_code == two.status_code == 200
            with pytest.raises(openai.RateLimitError) as refused:
                client.completions.create(**LONG)
            assert refused.value.response.headers["retry-after"] == "1"
            assert refused.value.code == "queue_full"
        eventually(lambda: service.admission.in_flight == 0)
        assert client.completions.create(**LONG | {"max_tokens": 1}).choices


def test_the_official_client_waits_and_tries_again(small: tuple[Service, str]) -> None:
    _, url = small
    patient = openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=8)
    with patient, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: patient.completions.create(**LONG), range(4)))
    assert len({a.choices[0].text for a in answers}) == 1


def test_refused_requests_leave_no_place_taken(small: tuple[Service, str]) -> None:
    service, url = small
    for body in (LONG | {"prompt": [999]}, LONG | {"max_tokens": 500}, LONG | {"n": 5}):
        assert httpx.post(f"{url}/v1/completions", json=body, headers=HEADERS).status_code == 400
    assert service.admission.in_flight == 0


def test_an_engine_that_dies_in_a_stream_ends_it_with_an_error(
    small: tuple[Service, str], engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, url = small

    def broken(*args: Any) -> None:
        raise RuntimeError("secret detail")

    with client_for(url) as client:
        chunks = client.completions.create(**LONG, stream=True)
        next(iter(chunks))
        # What fails here is the reading side, so that the engine lives on for other tests.
        monkeypatch.setattr("astrosage.serve.assembly.TokenEvent", broken)
        with pytest.raises(openai.APIError) as failed:
            list(chunks)
    assert "secret" not in str(failed.value)
    eventually(lambda: service.admission.in_flight == 0)
    eventually(lambda: not engine._running)
