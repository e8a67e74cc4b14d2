"""Load on an OpenAI-compatible endpoint: clients that wait for their answers, or arrivals that
do not.

    python benchmarks/serve/load.py --url http://127.0.0.1:8000/v1 --key-file KEY --model NAME \\
        --requests 200 --clients 8           # closed loop: eight clients, a request at a time each
    python benchmarks/serve/load.py … --rate 3   # open loop: three arrivals a second, come what may
    python benchmarks/serve/load.py … --marked --requests 10000 --clients 64 --retry

Prints JSON. With ``--marked`` each prompt is one of a kind and comes back with its answer, so that
an answer to somebody else's request would be seen.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asks
import httpx
from asks import Ask

_PATIENCE_SECONDS = 900.0
_MOST_TRIES = 1000


@dataclass
class Sample:
    """What came of one request.

    Attributes:
        status: HTTP status, 0 if the connection failed.
        code: The error's code, or the failure's kind.
        seconds: From the first try to the end of the answer.
        first: From the first try to the first token of a stream.
        tokens: Generated.
        texts: The answer's texts by choice.
        refusals: How often it was told to come back.
    """

    ask: Ask
    status: int = 0
    code: str = ""
    seconds: float = 0.0
    first: float | None = None
    tokens: int = 0
    texts: dict[int, str] = field(default_factory=dict)
    refusals: int = 0


async def send(client: httpx.AsyncClient, ask: Ask, *, retry: bool) -> Sample:
    """Send one request, again and again while it is refused, if that is wanted."""
    sample = Sample(ask)
    began = time.perf_counter()
    for _ in range(_MOST_TRIES):
        sample.texts, sample.tokens, sample.first, sample.code = {}, 0, None, ""
        wait = 1.0
        try:
            wait = await _try(client, ask, sample, began)
        except (httpx.HTTPError, ValueError) as error:
            sample.status, sample.code = 0, type(error).__name__
        if sample.status != 429:
            break
        sample.refusals += 1
        if not retry:
            break
        await asyncio.sleep(wait * (1 + random.random() / 4))
    sample.seconds = time.perf_counter() - began
    return sample


async def _try(client: httpx.AsyncClient, ask: Ask, sample: Sample, began: float) -> float:
    async with client.stream("POST", ask.path, json=ask.body) as answer:
        sample.status = answer.status_code
        if answer.status_code != 200:
            found = json.loads(await answer.aread())
            sample.code = str((found.get("error") or {}).get("code"))
            return float(answer.headers.get("retry-after", 1))
        if not ask.body.get("stream"):
            found = json.loads(await answer.aread())
            sample.tokens = found["usage"]["completion_tokens"]
            for choice in found["choices"]:
                sample.texts[choice["index"]] = choice["text"]
            return 0.0
        ended = finished = False
        async for line in answer.aiter_lines():
            data = line.removeprefix("data:").strip()
            if line.startswith("data:") and data != "[DONE]":
                event = json.loads(data)
                _take(event, sample, began)
                finished |= any(c.get("finish_reason") for c in event.get("choices") or [])
            ended |= data == "[DONE]"
        # Not every server sends the end mark; ours has to.
        if not (ended or (finished and not ask.marker)) and not sample.code:
            sample.status, sample.code = 0, "broken off"
    return 0.0


def _take(event: dict[str, Any], sample: Sample, began: float) -> None:
    if "error" in event:
        sample.status, sample.code = 0, str(event["error"].get("code"))
        return
    for choice in event.get("choices") or []:
        delta = choice.get("delta") or {}
        text = choice.get("text") or delta.get("content") or delta.get("reasoning_content") or ""
        if text:
            sample.tokens += 1  # one event a token, give or take half characters
            if sample.first is None:
                sample.first = time.perf_counter() - began
        sample.texts[choice["index"]] = sample.texts.get(choice["index"], "") + text


Make = Callable[[int], Ask]


async def closed_loop(
    client: httpx.AsyncClient, make: Make, count: int, clients: int, *, retry: bool
) -> list[Sample]:
    """So many clients, each of which asks again when it has its answer."""
    numbers = iter(range(count))

    async def one() -> list[Sample]:
        return [await send(client, make(number), retry=retry) for number in numbers]

    return [s for part in await asyncio.gather(*(one() for _ in range(clients))) for s in part]


async def open_loop(
    client: httpx.AsyncClient, make: Make, count: int, rate: float, *, retry: bool, seed: int = 0
) -> list[Sample]:
    """Arrivals at random (Poisson), whether or not those before have their answers."""
    chance = random.Random(seed)
    due = time.perf_counter()
    tasks = []
    for number in range(count):
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(send(client, make(number), retry=retry)))
        due += chance.expovariate(rate)
    return list(await asyncio.gather(*tasks))


def verdicts(samples: Sequence[Sample]) -> dict[str, int]:
    """How many marked requests got their own answer, whole; and what the others got."""
    markers = {s.ask.marker for s in samples}
    found: Counter[str] = Counter()
    for sample in samples:
        if sample.status != 200:
            found["refused" if sample.status == 429 else "failed"] += 1
            continue
        wanted = range(sample.ask.body["n"])
        texts = [sample.texts.get(i) for i in wanted]
        if len(sample.texts) != len(wanted) or None in texts:
            found["incomplete"] += 1
        elif all(text and text.startswith(sample.ask.marker) for text in texts):
            found["own"] += 1
        elif any(text and text.startswith(m) for text in texts for m in markers):
            found["mixed up"] += 1
        else:
            found["wrong"] += 1
    assert sum(found.values()) == len(samples)
    return dict(found)


def summary(samples: Sequence[Sample], seconds: float) -> dict[str, Any]:
    """The figures of one run."""
    good = [s for s in samples if s.status == 200]
    firsts = [s.first for s in good if s.first is not None]
    return {
        "requests": len(samples),
        "answered": len(good),
        "refused": sum(s.status == 429 for s in samples),
        "refusals": sum(s.refusals for s in samples),
        "failed": dict(Counter(s.code for s in samples if s.status not in (200, 429))),
        "seconds": round(seconds, 2),
        "requestsPerSecond": round(len(good) / seconds, 2),
        "tokensPerSecond": round(sum(s.tokens for s in good) / seconds, 1),
        "latencySeconds": percentiles([s.seconds for s in good]),
        "firstTokenSeconds": percentiles(firsts),
    }


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Median, 90th and 99th percentile, and the largest."""
    if not values:
        return {}
    if len(values) == 1:
        return dict.fromkeys(("p50", "p90", "p99", "max"), round(values[0], 4))
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    found = {"p50": cuts[49], "p90": cuts[89], "p99": cuts[98], "max": max(values)}
    return {name: round(value, 4) for name, value in found.items()}


async def run(
    url: str,
    key: str,
    make: Make,
    count: int,
    *,
    clients: int | None = None,
    rate: float | None = None,
    retry: bool = False,
) -> tuple[list[Sample], float]:
    """Put a load on an endpoint; gives samples and seconds."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=1000)
    async with httpx.AsyncClient(
        base_url=url, headers=headers, limits=limits, timeout=_PATIENCE_SECONDS, trust_env=False
    ) as client:
        began = time.perf_counter()
        if rate is not None:
            samples = await open_loop(client, make, count, rate, retry=retry)
        else:
            samples = await closed_loop(client, make, count, clients or 1, retry=retry)
        return samples, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--key-file", type=Path)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--marked", action="store_true")
    parser.add_argument("--retry", action="store_true")
    options = parser.parse_args()
    key = options.key_file.read_text().strip() if options.key_file else ""

    def make(number: int) -> Ask:
        if options.marked:
            return asks.marked(number, options.model)
        return asks.chat(number, options.model, options.tokens)

    samples, seconds = asyncio.run(
        run(
            options.url,
            key,
            make,
            options.requests,
            clients=options.clients,
            rate=options.rate,
            retry=options.retry,
        )
    )
    found = summary(samples, seconds)
    if options.marked:
        found["verdicts"] = verdicts(samples)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
