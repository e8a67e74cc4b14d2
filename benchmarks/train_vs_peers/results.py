"""The page of results, made from what compare.py measured."""

from __future__ import annotations

import importlib.metadata
import os
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

_WHO = {
    "ours": "`astroctl submit train`",
    "ours-single": "`astroctl submit train`, a sequence at a time",
    "trl-packed": "TRL, packed and flattened",
    "trl-packed-single": "TRL, packed, a sequence at a time",
    "trl-padded": "TRL, padded to the longest of a micro-batch",
    "trl-padding-free": "TRL, unpacked and flattened",
    "template": "Ray's template, padded to the maximum",
}
_OURS = ("ours", "ours-single")
_PRECISION = {"bf16": "bf16 with fp32 master weights", "fp32": "fp32 throughout"}


def page(found: dict[str, Any]) -> str:
    """Markdown: what was run, a row for each contestant, ratios."""
    runs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in found["runs"]:
        runs[run["name"]].append(run)
    parts = [
        _head(found["settings"]),
        _table(runs),
        *(f"{_WHO[name]}: {reason}." for name, reason in found["failures"].items()),
        *(_ratios(name, runs) for name in _OURS),
        _losses(found, runs),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(settings: dict[str, Any]) -> str:
    s = settings
    packages = ("torch", "transformers", "ray", "deepspeed")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return f"""# Training against peers

Written by `compare.py`; see README.md for the command and what is compared.

- Machine: {_machine()}; {versions}; TRL's release is in README.md.
- {s["workers"]} workers of one thread, SmolLM2-135M, {_PRECISION[s["precision"]]}, ZeRO-{
        s["zeroStage"]
    }, fused AdamW, constant learning rate {s["learningRate"]:g}.
- {s["conversations"]} conversations of {s["meanLength"]} tokens on average (median {
        s["medianLength"]
    }, longest {s["longest"]}), {s["tokens"]} tokens of which {s["learntTokens"]} are learnt, in {
        s["steps"]
    } steps; the first {s["warmUpSteps"]} warm up and do not count.
- Packed: {s["packedRows"]} rows of {s["sequenceLength"]}, micro-batch {
        s["packedMicroBatch"]
    }. Unpacked: micro-batch {s["unpackedMicroBatch"]}, {s["unpackedAccumulation"]} of them a step.
- {s["rounds"]} rounds, the contestants in turn; medians."""


def _machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "unknown processor",
    )
    return f"{os.cpu_count()} cores of a virtual machine ({model}), no GPU"


def _table(runs: dict[str, list[dict[str, Any]]]) -> str:
    lines = [
        "| | non-padding tokens/s | per processor second | share of the matrix-product rate "
        "| outside forward and backward | memory of a worker, peak | held-out loss |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, made in runs.items():
        rates = [x["tokens_per_second"] for x in made]
        lines.append(
            f"| {_WHO[name]} | {statistics.median(rates):.0f}"
            f" ({min(rates):.0f} to {max(rates):.0f})"
            f" | {_median(made, 'tokens_per_processor_second'):.0f}"
            f" | {_median(made, 'share_of_peak'):.1%} | {_outside(made)}"
            f" | {_median(made, 'peak_bytes') / 2**30:.1f} GiB"
            f" | {_median(made, 'heldout_loss'):.4f} |"
        )
    return "\n".join(lines)


def _ratios(who: str, runs: dict[str, list[dict[str, Any]]]) -> str:
    """Speed of ours over each peer's, round by round, so that drift of the machine cancels."""
    if who not in runs:
        return ""
    ours = {x["round"]: x for x in runs[who]}
    lines = [f"| {_WHO[who]} over | speed | by processor time | memory |", "|---|---|---|---|"]
    for name, made in runs.items():
        pairs = [(ours[x["round"]], x) for x in made if x["round"] in ours]
        if name in _OURS or not pairs:
            continue
        speeds = [a["tokens_per_second"] / b["tokens_per_second"] for a, b in pairs]
        work = statistics.median(
            a["tokens_per_processor_second"] / b["tokens_per_processor_second"] for a, b in pairs
        )
        memory = statistics.median(a["peak_bytes"] / b["peak_bytes"] for a, b in pairs)
        spread = f" ({min(speeds):.2f} to {max(speeds):.2f})" if len(speeds) > 1 else ""
        speed = f"{statistics.median(speeds):.2f}{spread}"
        lines.append(f"| {_WHO[name]} | {speed} | {work:.2f} | {memory:.2f} |")
    return "\n".join(lines)


def _losses(found: dict[str, Any], runs: dict[str, list[dict[str, Any]]]) -> str:
    losses = [_median(made, "heldout_loss") for made in runs.values()]
    rates = [run["matmul_flops"] / 1e9 for run in found["runs"]]
    return (
        f"Held-out loss before training: {found['baseHeldoutLoss']:.4f}; the contestants' spread "
        f"after it: {max(losses) - min(losses):.4f}. Matrix-product rate of a worker, measured "
        f"before each run: {min(rates):.0f} to {max(rates):.0f} GFLOP/s."
    )


def _median(made: list[dict[str, Any]], key: str) -> float:
    return float(statistics.median(x[key] for x in made))


def _outside(made: list[dict[str, Any]]) -> str:
    known = [x["outside"] for x in made if x["outside"] is not None]
    return f"{statistics.median(known):.1%}" if known else "not told"
