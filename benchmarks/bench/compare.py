"""Ours and lm-evaluation-harness on the same questions: equal scores, questions a second.

python compare.py --peer /tmp/lmeval/bin/lm_eval --questions quiz.jsonl --results RESULTS.md
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from astrosage.bench import questions
from astrosage.models.fetch import ensure_local

HERE = Path(__file__).resolve().parent
TASK = "astrosage_parity"


def main() -> int:
    options = arguments()
    model = ensure_local(options.model)
    with tempfile.TemporaryDirectory(prefix="bench-parity-") as scratch:
        folder = Path(scratch)
        file, count = prepare(options, folder)
        exact_ours = ours(model, file, "float32", options.threads)
        exact_theirs = theirs(options, model, folder, "float32")
        speed: dict[str, list[float]] = {"ours": [], "harness": []}
        rounded = {}
        for _ in range(options.rounds):
            rounded["ours"] = ours(model, file, "bfloat16", options.threads)
            speed["ours"].append(count / rounded["ours"]["seconds"])
            rounded["harness"] = theirs(options, model, folder, "bfloat16")
            speed["harness"].append(count / rounded["harness"]["seconds"])
    ratios = [a / b for a, b in zip(speed["ours"], speed["harness"], strict=True)]
    found = {
        "questions": count,
        "fp32": parity(exact_ours, exact_theirs),
        "bf16": parity(rounded["ours"], rounded["harness"]),
        "questionsPerSecond": {who: round(statistics.median(v), 2) for who, v in speed.items()},
        "speedRatio": round(statistics.median(ratios), 2),
        "speedRatios": [round(r, 2) for r in ratios],
        "tokens": {who: rounded[who]["tokens"] for who in rounded},
    }
    print(json.dumps(found, indent=2))
    if options.results:
        options.results.write_text(page(found, options), encoding="utf-8")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path, required=True, help="lm_eval")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--questions", required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--results", type=Path, help="write the page of results here")
    return parser.parse_args()


def prepare(options: argparse.Namespace, folder: Path) -> tuple[Path, int]:
    """The questions for both, and the harness's task over them."""
    found = questions.load(options.questions)[: options.limit]
    file = folder / "questions.jsonl"
    records = [
        {"id": q.id, "question": q.question, "choices": list(q.choices), "answer": q.answer}
        for q in found
    ]
    file.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    task = {
        "task": TASK,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": str(file)},
        "test_split": "train",
        "output_type": "multiple_choice",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    (folder / "task.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    return file, len(found)


def ours(model: Path, file: Path, dtype: str, threads: int) -> dict[str, Any]:
    command = [sys.executable, str(HERE / "ours.py"), "--model", str(model), "--dtype", dtype]
    command += ["--questions", str(file), "--threads", str(threads)]
    made = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment(threads))
    found: dict[str, Any] = json.loads(made.stdout)
    return found


def theirs(options: argparse.Namespace, model: Path, folder: Path, dtype: str) -> dict[str, Any]:
    out = folder / f"out-{dtype}"
    command = [str(options.peer), "run", "--model", "hf", "--tasks", TASK, "--device", "cpu"]
    command += ["--model_args", f"pretrained={model},dtype={dtype}", "--batch_size", "8"]
    command += ["--include_path", str(folder), "--output_path", str(out), "--log_samples"]
    driver = [str(options.peer.parent / "python"), str(HERE / "timed.py"), str(options.threads)]
    made = subprocess.run(
        [*driver, *command[1:]],
        stdout=subprocess.PIPE,
        env=environment(options.threads),
        check=True,
    )
    timed = json.loads(made.stdout.decode().strip().splitlines()[-1])
    samples = max(out.rglob("samples_*.jsonl"), key=lambda f: f.stat().st_mtime)
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    return {
        "seconds": timed["seconds"],
        "tokens": timed["tokens"],
        "scores": {s["doc"]["id"]: [float(r[0]) for r in s["filtered_resps"]] for s in lines},
        "acc": statistics.mean(float(s["acc"]) for s in lines),
        "acc_norm": statistics.mean(float(s["acc_norm"]) for s in lines),
    }


def environment(threads: int) -> dict[str, str]:
    return os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def parity(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    differences = [
        abs(x - y)
        for key in a["scores"]
        for x, y in zip(a["scores"][key], b["scores"][key], strict=True)
    ]
    choices = [
        max(range(len(s)), key=s.__getitem__) == max(range(len(t)), key=t.__getitem__)
        for key, s in a["scores"].items()
        if (t := b["scores"][key])
    ]
    return {
        "options": len(differences),
        "largestDifference": max(differences),
        "meanDifference": statistics.mean(differences),
        "sameChoice": sum(choices) / len(choices),
        "acc": [a["acc"], b["acc"]],
        "acc_norm": [a["acc_norm"], b["acc_norm"]],
    }


def page(found: dict[str, Any], options: argparse.Namespace) -> str:
    rates, day = found["questionsPerSecond"], datetime.now().date()
    lines = [
        "# Scoring against lm-evaluation-harness",
        "",
        f"Written by `compare.py` on {day}; see README.md. {found['questions']} questions of "
        f"`{Path(options.questions).name}`, {options.model}, {options.threads} threads.",
        "",
        "| | options | largest difference, nats | mean | same choice | acc, ours and theirs "
        "| acc_norm, ours and theirs |",
        "|---|---|---|---|---|---|---|",
    ]
    for dtype in ("fp32", "bf16"):
        p = found[dtype]
        lines.append(
            f"| {dtype} | {p['options']} | {p['largestDifference']:.2g} "
            f"| {p['meanDifference']:.2g} | {p['sameChoice']:.1%} "
            f"| {p['acc'][0]:.4f}, {p['acc'][1]:.4f} "
            f"| {p['acc_norm'][0]:.4f}, {p['acc_norm'][1]:.4f} |"
        )
    tokens = found["tokens"]
    lines += [
        "",
        f"Questions a second, bf16, median of {options.rounds} rounds in turn: ours "
        f"{rates['ours']}, theirs {rates['harness']} (batches of 8): {found['speedRatio']} times "
        f"(rounds: {', '.join(map(str, found['speedRatios']))}). Tokens computed: ours "
        f"{tokens['ours']:,}, theirs {tokens['harness']:,}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
