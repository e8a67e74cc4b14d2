"""The engine alone, our server, our server behind Ray Serve, and ``transformers serve``: the same
model, threads and load, in turns; then an overload of marked requests.

    python benchmarks/serve/compare.py --results benchmarks/serve/RESULTS.md

See README.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import asks
import load
import results
import servers

from astrosage.models.fetch import ensure_local

sys.path.insert(0, str(servers.ROOT))
from tests import tiny

KINDS = ("engine", "ours", "serve", "transformers")


def measured(kind: str, model: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One contestant under the closed loop, and servers under arrivals at random too."""
    if kind == "engine":
        return {"closed": engine(model, options)}
    with servers.started(kind, model, options.threads, options.transformers) as (url, name):

        def loaded(count: int, **how: Any) -> dict[str, Any]:
            def make(number: int) -> asks.Ask:
                return asks.chat(number, name, options.tokens)

            return load.summary(*asyncio.run(load.run(url, "", make, count, **how)))

        loaded(options.clients, clients=options.clients)  # warm up
        return {
            "closed": loaded(options.requests, clients=options.clients),
            "open": loaded(options.requests, rate=options.rate),
        }


def engine(model: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The engine in a process of its own."""
    command = [sys.executable, str(Path(__file__).parent / "engine.py"), "--model", str(model)]
    for name in ("threads", "requests", "clients", "tokens"):
        command += [f"--{name}", str(getattr(options, name))]
    found: dict[str, Any] = json.loads(
        subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    )
    return found


def overload(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """An overload with the model that is meant for it."""
    if options.overload_model != "tiny":
        model = ensure_local(options.overload_model)
        return {"model": options.overload_model, **_overload(kind, model, options)}
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        model = tiny.make_model(Path(folder) / "tiny")
        return {
            "model": "a random Llama of two layers",
            **_overload(kind, model, options),
        }


def _overload(kind: str, model: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Far more marked requests than fit, each tried until it is answered; every answer is looked
    at, and a sample of them compared with what the engine says to each prompt alone."""
    with servers.started(kind, model, options.threads, options.transformers) as (url, name):

        def make(number: int) -> asks.Ask:
            return asks.marked(number, name)

        samples, seconds = asyncio.run(
            load.run(url, "", make, options.overload, clients=options.crowd, retry=True)
        )
    answered = [s for s in samples if s.status == 200]
    chosen = random.Random(0).sample(answered, min(options.check, len(answered)))
    expected = _expected(model, [s.ask.number for s in chosen], options.threads)
    alone, company = expected["alone"], expected["company"]
    same = sum(
        [s.texts[i] for i in range(s.ask.body["n"])] == alone[str(s.ask.number)] for s in chosen
    )
    return {
        **load.summary(samples, seconds),
        "clients": options.crowd,
        "verdicts": load.verdicts(samples),
        "compared": len(chosen),
        "same": same,
        "engineSame": sum(alone[number] == company[number] for number in alone),
    }


def _expected(model: Path, numbers: list[int], threads: int) -> dict[str, dict[str, list[str]]]:
    command = [sys.executable, str(Path(__file__).parent / "engine.py"), "--model", str(model)]
    command += ["--threads", str(threads), "--expect"]
    done = subprocess.run(
        command, input=json.dumps(numbers).encode(), stdout=subprocess.PIPE, check=True
    )
    found: dict[str, dict[str, list[str]]] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--clients", type=int, default=servers.CONCURRENT)
    parser.add_argument("--rate", type=float, default=1.0, help="arrivals a second")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--overload", type=int, default=10_000, help="marked requests; 0: none")
    parser.add_argument("--overload-model", default="tiny", help="tiny: two random layers")
    parser.add_argument("--overload-kinds", nargs="+", choices=("ours", "serve"), default=["serve"])
    parser.add_argument("--crowd", type=int, default=200, help="clients of the overload")
    parser.add_argument("--check", type=int, default=300, help="answers compared with the engine's")
    parser.add_argument(
        "--transformers", default=str(Path(sys.executable).with_name("transformers"))
    )
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    model = ensure_local(options.model)

    found: dict[str, Any] = {"options": {k: str(v) for k, v in vars(options).items()}}
    found["runs"], found["failures"], found["overload"] = [], {}, {}
    for _ in range(options.rounds):
        for kind in options.kinds:
            if kind in found["failures"]:
                continue
            try:
                found["runs"].append({"kind": kind, **measured(kind, model, options)})
            except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
                found["failures"][kind] = str(error).splitlines()[-1]
            print(json.dumps(found["runs"][-1:]), file=sys.stderr, flush=True)
    if options.overload:
        for kind in options.overload_kinds:
            found["overload"][kind] = overload(kind, options)
    print(json.dumps(found, indent=2))
    if options.results:
        options.results.write_text(results.page(found), encoding="utf-8")


if __name__ == "__main__":
    main()
