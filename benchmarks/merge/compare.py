"""Ours and mergekit in turn: seconds, bytes a second, peak memory, and how equal the results are.

python compare.py --peer /tmp/mergekit/bin/mergekit-yaml --results RESULTS.md
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import models
import torch
import yaml
from safetensors.torch import load_file

from astrosage.models.fetch import ensure_local

HERE = Path(__file__).resolve().parent
METHODS = ("linear", "slerp", "ties", "dare_linear", "dare_ties")
WEIGHTS, DENSITY = (0.6, 0.3), 0.4


def main() -> int:
    options = arguments()
    scratch = Path(tempfile.mkdtemp(prefix="merge-", dir=options.scratch))
    try:
        found = {"speed": speed(options, scratch), "parity": parity(options, scratch)}
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(json.dumps(found, indent=2))
    if options.results:
        options.results.write_text(page(found, options), encoding="utf-8")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path, required=True, help="mergekit-yaml")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--layers", type=int, default=16, help="of the larger model; 0 leaves it out"
    )
    parser.add_argument("--hidden", type=int, default=2048)
    parser.add_argument("--scratch", type=Path, help="where to work; default: the system's")
    parser.add_argument("--results", type=Path, help="write the page of results here")
    return parser.parse_args()


def speed(options: argparse.Namespace, scratch: Path) -> list[dict[str, Any]]:
    """Every method on every model, in turn, `rounds` times."""
    small = ensure_local("smollm2-135m")
    sets = {"SmolLM2-135M": models.donors(small, scratch / "small", 2, torch.bfloat16)}
    if options.layers:
        base = models.synthetic(small, scratch / "shape", options.layers, options.hidden, 0)
        count = sum(f.stat().st_size for f in base.glob("*.safetensors")) / 2
        name = f"{count / 1e9:.1f}B Llama shape"
        sets[name] = models.donors(base, scratch / "large", 2, torch.bfloat16)
        shutil.rmtree(base)
    rows = []
    for name, folders in sets.items():
        for method in METHODS:
            runs: dict[str, list[dict[str, float]]] = {"ours": [], "mergekit": []}
            for _ in range(options.rounds):
                for who in runs:
                    runs[who].append(one(who, method, folders, scratch, options))
                    shutil.rmtree(scratch / who)
            rows.append(row(name, method, folders, runs))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def row(
    name: str, method: str, folders: list[Path], runs: dict[str, list[dict[str, float]]]
) -> dict[str, Any]:
    used = folders[:2] if method == "slerp" else folders[1:] if method == "linear" else folders
    size = sum(f.stat().st_size for folder in used for f in folder.glob("*.safetensors"))
    found: dict[str, Any] = {"model": name, "method": method, "gigabytes": round(size / 1e9, 2)}
    for who, made in runs.items():
        seconds = statistics.median(m["seconds"] for m in made)
        found[who] = {
            "seconds": round(seconds, 2),
            "gigabytesPerSecond": round(size / 1e9 / seconds, 3),
            "peakMiB": round(max(m["peak"] for m in made) / 2**20),
            "processorSeconds": round(statistics.median(m["processorSeconds"] for m in made), 2),
        }
    found["speedRatio"] = round(found["mergekit"]["seconds"] / found["ours"]["seconds"], 2)
    found["processorRatio"] = round(
        found["mergekit"]["processorSeconds"] / found["ours"]["processorSeconds"], 2
    )
    found["memoryRatio"] = round(found["ours"]["peakMiB"] / found["mergekit"]["peakMiB"], 2)
    return found


def one(
    who: str,
    method: str,
    folders: list[Path],
    scratch: Path,
    options: argparse.Namespace,
    arithmetic: str = "float32",
) -> dict[str, float]:
    """One merge in a process of its own: its wall time and its peak resident memory."""
    out = scratch / who
    if who == "ours":
        file = scratch / "spec.json"
        file.write_text(json.dumps(our_spec(method, folders, arithmetic)))
        command = [sys.executable, str(HERE / "ours.py"), str(file), str(out)]
    else:
        file = scratch / "spec.yaml"
        file.write_text(yaml.safe_dump(their_spec(method, folders, arithmetic)))
        command = [str(options.peer), str(file), str(out), "--out-shard-size", "4B", "--quiet"]
    with (scratch / f"{who}.log").open("wb") as log:
        subprocess.run(
            [sys.executable, str(HERE / "launch.py"), str(scratch / "used.json"), *command],
            stdout=log,
            stderr=log,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
            check=True,
        )
    used: dict[str, float] = json.loads((scratch / "used.json").read_text())
    if used["status"]:
        sys.exit(f"{who} failed:\n" + (scratch / f"{who}.log").read_text()[-3000:])
    return used


def our_spec(method: str, folders: list[Path], arithmetic: str) -> dict[str, Any]:
    base, *donors = map(str, folders)
    if method == "slerp":
        return {
            "method": "slerp",
            "base": base,
            "models": [{"model": donors[0], "weight": 0.4}],
            "arithmetic": arithmetic,
        }
    listed: list[dict[str, Any]] = [
        {"model": donor, "weight": weight} for donor, weight in zip(donors, WEIGHTS, strict=True)
    ]
    spec = {"method": method, "models": listed, "arithmetic": arithmetic, "trim": "tensor"}
    if method == "linear":
        return spec
    for donor in listed:
        donor["density"] = DENSITY
    return spec | {"base": base, "normalize": method == "ties"}


def their_spec(method: str, folders: list[Path], arithmetic: str) -> dict[str, Any]:
    base, *donors = map(str, folders)
    common = {"merge_method": method, "dtype": arithmetic, "out_dtype": "bfloat16"}
    if method == "slerp":
        listed = [{"model": base}, {"model": donors[0]}]
        return common | {"base_model": base, "models": listed, "parameters": {"t": 0.4}}
    parameters = [
        {"weight": w} | ({"density": DENSITY} if method != "linear" else {}) for w in WEIGHTS
    ]
    listed = [
        {"model": donor, "parameters": p} for donor, p in zip(donors, parameters, strict=True)
    ]
    if method == "linear":
        return common | {"models": listed, "parameters": {"normalize": True}}
    shared = {"normalize": method == "ties"}
    return common | {"base_model": base, "models": listed, "parameters": shared}


def parity(options: argparse.Namespace, scratch: Path) -> list[dict[str, Any]]:
    """Element by element on fp32 inputs, in which hardly two differences are of one magnitude."""
    folders = models.donors(ensure_local("smollm2-135m"), scratch / "wide", 2, torch.float32)
    found = []
    for method in METHODS:
        results = {}
        for who in ("ours", "mergekit"):
            one(who, method, folders, scratch, options)
            results[who] = weights(scratch / who)
            shutil.rmtree(scratch / who)
        found.append({"method": method} | compare(method, results, folders))
        print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    return found


def compare(
    method: str, results: dict[str, dict[str, torch.Tensor]], folders: list[Path]
) -> dict[str, Any]:
    ours, theirs = results["ours"], results["mergekit"]
    names = [n for n in ours if n in theirs]
    if method.startswith("dare"):
        return {"tensors": len(names)} | {
            who: moments(made, weights(folders[0])) for who, made in results.items()
        }
    equal = total = 0
    largest = 0.0
    for name in names:
        a, b = ours[name].float(), theirs[name].float()
        equal += int((a == b).sum())
        total += a.numel()
        # In units of the last place of bf16, of the larger of the two.
        unit = torch.maximum(a.abs(), b.abs()).clamp_min(1e-30) * 2**-7
        largest = max(largest, float(((a - b).abs() / unit).max()))
    return {
        "tensors": len(names),
        "entries": total,
        "identical": equal / total,
        "largestDifferenceInLastPlaces": round(largest, 2),
    }


def moments(made: dict[str, torch.Tensor], base: dict[str, torch.Tensor]) -> dict[str, float]:
    """What a random merge is like: mean, spread and share of the entries that it moved."""
    total = moved = 0
    first = second = 0.0
    for name, tensor in made.items():
        start = base[name]
        delta = tensor.float() - start.bfloat16().float()
        scaled = delta / start.std().clamp_min(1e-12) if start.numel() > 1 else delta
        first += float(scaled.sum(dtype=torch.float64))
        second += float((scaled.double() ** 2).sum())
        moved += int((delta != 0).sum())
        total += delta.numel()
    mean = first / total
    return {
        "mean": mean,
        "standardDeviation": math.sqrt(second / total - mean * mean),
        "moved": moved / total,
    }


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {n: t for f in sorted(folder.rglob("*.safetensors")) for n, t in load_file(f).items()}


def page(found: dict[str, Any], options: argparse.Namespace) -> str:
    lines = [
        "# Merging against mergekit",
        "",
        "Written by `compare.py`; see README.md for the command. Whole processes, imports included;"
        f" median of {options.rounds} rounds in turn, {os.cpu_count()} cores. A gigabyte is one of"
        " weights read.",
        "",
        "| models | method | ours s (GB/s, peak MiB) | mergekit s (GB/s, peak MiB) | speed, times "
        "theirs | by processor time | memory, times theirs |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in found["speed"]:
        cells = [
            f"{r[w]['seconds']} ({r[w]['gigabytesPerSecond']}, {r[w]['peakMiB']})"
            for w in ("ours", "mergekit")
        ]
        lines.append(
            f"| {r['model']}, {r['gigabytes']} GB | {r['method']} | {cells[0]} | {cells[1]} "
            f"| {r['speedRatio']} | {r['processorRatio']} | {r['memoryRatio']} |"
        )
    lines += ["", "Results on fp32 inputs, both rounded to bf16:", ""]
    for p in found["parity"]:
        if "identical" in p:
            lines.append(
                f"- {p['method']}: {p['identical']:.4%} of {p['entries']:,} entries identical, the "
                f"largest difference {p['largestDifferenceInLastPlaces']} units of the last place."
            )
        else:
            told = ", ".join(
                f"{who} mean {p[who]['mean']:.2e}, standard deviation "
                f"{p[who]['standardDeviation']:.5f}, {p[who]['moved']:.2%} moved"
                for who in ("ours", "mergekit")
            )
            lines.append(f"- {p['method']}, in distribution: {told}.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
