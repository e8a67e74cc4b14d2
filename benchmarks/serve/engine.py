"""The engine alone, without HTTP: what servers are held against, and what they should have said.

Prints JSON: figures of a closed loop, or with ``--expect`` the answers to the marked requests
whose numbers come on standard input, each alone and in the company of others.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

import asks
import load
import servers
import torch
from asks import Ask
from load import Sample

from astrosage.serve.engine import GenerationRequest
from astrosage.serve.transformers_engine import TransformersEngine


def request(engine: TransformersEngine, ask: Ask, choice: int = 0) -> GenerationRequest:
    """What the application makes of a request."""
    body = ask.body
    if "prompt" in body:
        ids = engine.tokens.encode(body["prompt"])
    else:
        ids, _ = engine.tokens.encode_chat(body["messages"])
    seed = body.get("seed", 0) + choice
    return GenerationRequest(ids, body["max_tokens"], body["temperature"], seed=seed)


async def answer(engine: TransformersEngine, ask: Ask, choice: int = 0) -> Sample:
    """One sequence, generated to its end."""
    sample, began = Sample(ask, status=200), time.perf_counter()
    text = ""
    async for event in engine.generate(request(engine, ask, choice)):
        if event.text:  # counted as a client counts: events with text
            sample.tokens += 1
            sample.first = sample.first or time.perf_counter() - began
        text += event.text
    sample.texts[choice] = text
    sample.seconds = time.perf_counter() - began
    return sample


async def closed_loop(
    engine: TransformersEngine, make: load.Make, count: int, clients: int
) -> list[Sample]:
    numbers = iter(range(count))

    async def one() -> list[Sample]:
        return [await answer(engine, make(number)) for number in numbers]

    return [s for part in await asyncio.gather(*(one() for _ in range(clients))) for s in part]


async def expected(
    engine: TransformersEngine, numbers: list[int], clients: int
) -> dict[int, list[str]]:
    """What the engine answers to marked requests, so many of them at once."""
    left, found = iter(numbers), {}

    async def one() -> None:
        for number in left:
            ask = asks.marked(number, servers.NAME)
            made = [await answer(engine, ask, i) for i in range(ask.body["n"])]
            found[number] = [ask.marker + sample.texts[i] for i, sample in enumerate(made)]

    await asyncio.gather(*(one() for _ in range(clients)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--expect", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    engine = TransformersEngine.load(
        options.model, max_concurrent=servers.CONCURRENT, threads=options.threads
    )

    def make(number: int) -> Ask:
        return asks.chat(number, servers.NAME, options.tokens)

    if options.expect:
        numbers = json.load(sys.stdin)
        alone = asyncio.run(expected(engine, numbers, 1))
        company = asyncio.run(expected(engine, numbers, options.clients))
        print(json.dumps({"alone": alone, "company": company}))
    else:
        asyncio.run(closed_loop(engine, make, options.clients, options.clients))  # warm up
        began = time.perf_counter()
        samples = asyncio.run(closed_loop(engine, make, options.requests, options.clients))
        print(json.dumps(load.summary(samples, time.perf_counter() - began)))
    engine.close()


if __name__ == "__main__":
    main()
