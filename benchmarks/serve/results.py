"""The page of results, made from what compare.py measured."""

from __future__ import annotations

import importlib.metadata
import os
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from servers import DTYPE

_WHO = {
    "engine": "the engine alone, in one process with its clients",
    "ours": "the application under uvicorn",
    "serve": "the application behind Ray Serve",
    "transformers": "`transformers serve --continuous-batching`",
}


def page(found: dict[str, Any]) -> str:
    """Markdown: what was run, a table for each kind of load, ratios, the overload."""
    parts = [
        _head(found["options"]),
        _table(found["runs"], "closed", "Clients that wait for their answers (closed loop)"),
        _table(found["runs"], "open", "Arrivals at random (open loop)"),
        *(f"{_WHO[kind]} did not run: {why}" for kind, why in found["failures"].items()),
        _ratios(found["runs"]),
        *(_overload(kind, run) for kind, run in found["overload"].items()),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(options: dict[str, str]) -> str:
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers", "ray")
    )
    return f"""# Serving: measurements

Written by `compare.py` on {datetime.now(UTC).date()}; README.md says how and what is compared.

- Machine: {_machine()}; {versions}.
- {options["model"]}, {DTYPE}, {options["threads"]} thread for the model; the load generator
  shares the machine with the server.
- {options["requests"]} streamed chats of at most {options["tokens"]} tokens a run, greedy;
  {options["clients"]} clients, or {options["rate"]} arrivals a second. {options["rounds"]} rounds,
  the contestants in turn; medians of the rounds."""


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    model = next(names, "unknown processor")
    return f"{os.cpu_count()} cores of a virtual machine ({model}), no GPU"


def _table(runs: list[dict[str, Any]], load: str, title: str) -> str:
    kinds = [kind for kind in _WHO if any(r["kind"] == kind and load in r for r in runs)]
    if not kinds:
        return ""
    lines = [
        f"## {title}\n",
        "| | tokens/s | requests/s | first token, median | 99 % | whole answer, median | 99 % "
        "| refused | failed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for kind in kinds:
        made = [r[load] for r in runs if r["kind"] == kind]
        cells = [
            f"{_median(made, 'tokensPerSecond'):.1f}",
            f"{_median(made, 'requestsPerSecond'):.2f}",
            *(f"{_median(made, 'firstTokenSeconds', p):.3f} s" for p in ("p50", "p99")),
            *(f"{_median(made, 'latencySeconds', p):.2f} s" for p in ("p50", "p99")),
            str(sum(m["refused"] for m in made)),
            str(sum(sum(m["failed"].values()) for m in made)),
        ]
        lines.append(f"| {_WHO[kind]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _median(made: list[dict[str, Any]], field: str, percentile: str | None = None) -> float:
    values = [m[field] if percentile is None else m[field].get(percentile, 0.0) for m in made]
    return statistics.median(values)


def _ratios(runs: list[dict[str, Any]]) -> str:
    rates = {
        kind: statistics.median(made)
        for kind in _WHO
        if (made := [r["closed"]["tokensPerSecond"] for r in runs if r["kind"] == kind])
    }
    lines = []
    for low, high, what in (
        ("ours", "engine", "Of the engine's tokens/s, the application passes on"),
        ("serve", "ours", "Of the application's, Ray Serve passes on"),
        ("serve", "transformers", "Ray Serve with our application against `transformers serve`:"),
    ):
        if low in rates and high in rates:
            lines.append(f"- {what} {rates[low] / rates[high]:.0%} (closed loop).")
    return "\n".join(lines)


def _overload(kind: str, run: dict[str, Any]) -> str:
    told = ", ".join(f"{count} {what}" for what, count in sorted(run["verdicts"].items()))
    failed = ", ".join(f"{n} {code}" for code, n in run["failed"].items()) or "none"
    took = run["latencySeconds"]
    return f"""## Overload: {_WHO[kind]}

Model: {run["model"]}. {run["requests"]} requests of {run["clients"]} clients at once, each with a
prompt of its own that comes back with the answer; who is refused (429) comes back when told.

- Answers: {told}. Refusals on the way: {run["refusals"]}. Failures: {failed}.
- Of {run["compared"]} answers drawn at random, {run["same"]} are to the letter what the engine says
  to that prompt alone. Run eight at once, without a server, the engine agrees with itself in
  {run["engineSame"]} of them: sums in a batch of another size round differently.
- {run["requestsPerSecond"]} answers/s over {run["seconds"]:.0f} s; a whole answer, with all
  refusals, took {took.get("p50", 0):.1f} s in the median, {took.get("p99", 0):.1f} s at 99 %."""
