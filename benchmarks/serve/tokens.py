"""Served tokens/s of one stream and of eight at once, beside ``model.generate`` at batch 1.

    OMP_NUM_THREADS=1 python benchmarks/serve/tokens.py --threads 1

The server runs in this process, on loopback HTTP, with the official client; times include
everything a client waits for. End tokens are part of the count.

Last result (SmolLM2-135M bf16, one thread of an AMD EPYC with avx512_bf16, medians of 5):
generate 30.5 tokens/s, one stream 27.7, eight streams 122; first token after 44 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import torch
import uvicorn
from asks import QUESTIONS
from transformers import AutoModelForCausalLM

from astrosage.models.fetch import ensure_local
from astrosage.serve.app import create_app
from astrosage.serve.limits import Limits
from astrosage.serve.service import Service
from astrosage.serve.transformers_engine import TransformersEngine


def generate(model: Any, prompt_ids: list[int], tokens: int) -> int:
    prompt = torch.tensor([prompt_ids])
    with torch.inference_mode():
        model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
        )
    return tokens


def ask(client: openai.OpenAI, question: str, tokens: int) -> tuple[int, float]:
    """Tokens of the answer and seconds to its first."""
    begin, first, count = time.perf_counter(), 0.0, 0
    for chunk in client.chat.completions.create(
        model="m",
        messages=[{"role": "user", "content": question}],
        max_tokens=tokens,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    ):
        if chunk.usage:
            count = chunk.usage.completion_tokens
        elif not first and chunk.choices[0].delta.content:
            first = time.perf_counter() - begin
    return count, first


def served(client: openai.OpenAI, streams: int, tokens: int) -> int:
    with ThreadPoolExecutor(streams) as pool:
        return sum(
            count for count, _ in pool.map(lambda q: ask(client, q, tokens), QUESTIONS[:streams])
        )


def measured(work: Callable[[], int]) -> tuple[float, float]:
    """Tokens/s by the clock, and milliseconds of processor time a token."""
    begin, processor = time.perf_counter(), time.process_time()
    tokens = work()
    seconds, used = time.perf_counter() - begin, time.process_time() - processor
    return tokens / seconds, 1000 * used / tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    path = ensure_local(options.model)

    service = Service("m", Limits(), None)
    engine = TransformersEngine.load(path, max_concurrent=8, threads=options.threads)
    service.engine = engine
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16).eval()
    generate(model, [1, 2, 3], 4)
    ids, _ = engine.tokens.encode_chat([{"role": "user", "content": QUESTIONS[0]}])
    server = uvicorn.Server(
        uvicorn.Config(create_app(service), port=0, log_level="warning", lifespan="off")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
    result: dict[str, Any] = {"model": options.model, "threads": options.threads}
    result["load"] = os.getloadavg()[0]
    ask(client, QUESTIONS[0], 8)
    work: dict[str, Callable[[], int]] = {
        "generate_1": lambda: generate(model, ids, options.tokens),
        "served_1": lambda: served(client, 1, options.tokens),
        "served_8": lambda: served(client, 8, options.tokens),
    }
    # In turns, so that whatever else the machine does meets all of them alike.
    runs = [{name: measured(run) for name, run in work.items()} for _ in range(options.repeats)]
    for name in work:
        rates, used = zip(*(run[name] for run in runs), strict=True)
        result[name] = {
            "best_tokens_per_second": round(max(rates), 1),
            "median_tokens_per_second": round(statistics.median(rates), 1),
            "median_cpu_ms_per_token": round(statistics.median(used), 1),
        }
    first = [ask(client, QUESTIONS[0], 2)[1] for _ in range(options.repeats)]
    result["first_token_seconds"] = round(statistics.median(first), 3)
    server.should_exit = True
    thread.join()
    engine.close()
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
