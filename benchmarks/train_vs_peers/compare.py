"""Ours and the peers in turn, on one machine, in one sitting; ratios out.

    python benchmarks/train_vs_peers/compare.py --peers-python …/bin/python --rounds 2

Before each run the machine's matrix-product rate is measured by as many one-thread processes
as there are workers, at the same time. The first steps of a run warm up and do not count.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import conversations
import evaluate
import psutil
import results
from contestants import NAMES, PRECISION, Settings, contestant, environment
from transformers import AutoConfig
from watch import Watch

from astrosage.models.fetch import ensure_local
from astrosage.train.throughput import training_flops

WARM_UP_STEPS = 2
_LIMIT_SECONDS = 3600
# By processor time, so that other work on the machine does not lower what is divided by.
_MATMUL = """
import time, torch
from astrosage.train import throughput
torch.set_num_threads(1)
time.perf_counter = time.process_time
measure = throughput.measure_matmul
print(max(measure(torch.device("cpu"), torch.DTYPE) for _ in range(3)))
""".replace("DTYPE", {"bf16": "bfloat16", "fp32": "float32"}[PRECISION])


@dataclass(frozen=True)
class Outcome:
    """One run.

    Attributes:
        tokens_per_second: Non-padding tokens over all workers, wall time of the counted steps.
        tokens_per_processor_second: The same over the processor time that the workers were given:
            steadier where other work shares the machine, blind to waiting.
        outside: Share of that time outside forward and backward; None if not told apart.
        share_of_peak: Arithmetic that the model needs over what the workers could have done.
        peak_bytes: Proportional set size of the largest worker while it stepped.
        heldout_loss: Mean loss of the trained model on the held-out answers, in nats.
        matmul_flops: Rate of one worker measured just before.
    """

    name: str
    round: int
    tokens_per_second: float
    tokens_per_processor_second: float
    outside: float | None
    share_of_peak: float
    peak_bytes: int
    heldout_loss: float
    matmul_flops: float


class Failed(Exception):
    """A contestant did not come to its end."""


def main() -> int:
    options = arguments()
    model = ensure_local("smollm2-135m")
    with tempfile.TemporaryDirectory(prefix="train-vs-peers-", dir=options.scratch) as scratch:
        folder = Path(scratch)
        rows = options.steps * options.workers * options.micro_batch
        data = conversations.make(folder / "data", model, options.sequence_length, rows)
        settings = Settings(
            model=model,
            data=data,
            steps=options.steps,
            workers=options.workers,
            sequence_length=options.sequence_length,
            micro_batch=options.micro_batch,
            zero=options.zero,
            learning_rate=options.learning_rate,
            peers_python=options.peers_python,
        )
        base = evaluate.loss(model, model, data.heldout)
        outcomes: list[Outcome] = []
        failures: dict[str, str] = {}
        for number in range(options.rounds):
            for name in options.contestants:
                if name in failures:
                    continue
                try:
                    outcomes.append(run(name, number, settings, folder / f"{name}-{number}"))
                except Failed as error:
                    failures[name] = str(error)
                    print(f"{name}: {error}", file=sys.stderr, flush=True)
                    continue
                print(json.dumps(asdict(outcomes[-1])), file=sys.stderr, flush=True)
    found = {
        "settings": described(settings) | {"rounds": options.rounds},
        "baseHeldoutLoss": base,
        "runs": [asdict(outcome) for outcome in outcomes],
        "failures": failures,
    }
    print(json.dumps(found, indent=2))
    if options.results:
        options.results.write_text(results.page(found), encoding="utf-8")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--peers-python", type=Path, required=True)
    parser.add_argument("--contestants", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sequence-length", type=int, default=512)
    parser.add_argument("--micro-batch", type=int, default=8)
    parser.add_argument("--zero", type=int, default=3)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--scratch", type=Path, help="where to work; default: the system's")
    parser.add_argument("--results", type=Path, help="write the page of results here")
    return parser.parse_args()


def run(name: str, number: int, settings: Settings, out: Path) -> Outcome:
    out.mkdir(parents=True)
    rate = matmul_rate(settings.workers)
    chosen = contestant(name, settings, out)
    with (out / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            chosen.command, env=environment(), stdout=log, stderr=subprocess.STDOUT
        )
        root = psutil.Process(process.pid)
        with Watch(lambda: chosen.workers(root)) as watch:
            status = process.wait(timeout=_LIMIT_SECONDS)
    if status:
        tail = (out / "log.txt").read_text(encoding="utf-8", errors="replace")[-4000:]
        print(tail, file=sys.stderr, flush=True)
        shutil.rmtree(out)
        killed = "SIGKILL" in tail or "OutOfMemory" in tail
        raise Failed("killed for lack of memory" if killed else f"ended with status {status}")
    lines = [json.loads(x) for x in (out / "steps.jsonl").read_text().splitlines()]
    counted = lines[WARM_UP_STEPS:]
    # From the end of the last warm-up step: what happens between steps counts too.
    began, ended = lines[WARM_UP_STEPS - 1]["time"], lines[-1]["time"]
    tokens = sum(x["tokens"] for x in counted)
    heldout = evaluate.loss(out / "model", settings.model, settings.data.heldout)
    outcome = Outcome(
        name=name,
        round=number,
        tokens_per_second=tokens / (ended - began),
        tokens_per_processor_second=tokens / watch.processor_seconds(began, ended),
        outside=outside(counted, ended - began),
        share_of_peak=flops_per_token(settings)
        * tokens
        / (ended - began)
        / (rate * settings.workers),
        peak_bytes=watch.peak(lines[0]["time"] - lines[0]["seconds"], ended),
        heldout_loss=heldout,
        matmul_flops=rate,
    )
    shutil.rmtree(out)
    return outcome


def matmul_rate(workers: int) -> float:
    """Matrix-product rate of one worker while all of them work, in FLOP/s."""
    command = [sys.executable, "-c", _MATMUL]
    processes = [
        subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
        for _ in range(workers)
    ]
    return statistics.mean(float(p.communicate()[0]) for p in processes)


def outside(lines: list[dict[str, Any]], seconds: float) -> float | None:
    """Share of the time that is neither forward nor backward."""
    if not all("forward" in x and "backward" in x for x in lines):
        return None
    return 1 - sum(x["forward"] + x["backward"] for x in lines) / seconds


def flops_per_token(settings: Settings) -> float:
    """Arithmetic that the data needs, averaged over its tokens: the same for all contestants."""
    config = AutoConfig.from_pretrained(settings.model)
    data = settings.data
    return training_flops(config, data.lengths, data.learnt) / sum(data.lengths)


def described(settings: Settings) -> dict[str, Any]:
    data, (micro, accumulation) = settings.data, settings.unpacked
    return {
        "workers": settings.workers,
        "precision": PRECISION,
        "steps": settings.steps,
        "warmUpSteps": WARM_UP_STEPS,
        "zeroStage": settings.zero,
        "sequenceLength": settings.sequence_length,
        "packedMicroBatch": settings.micro_batch,
        "unpackedMicroBatch": micro,
        "unpackedAccumulation": accumulation,
        "learningRate": settings.learning_rate,
        "conversations": data.records,
        "tokens": sum(data.lengths),
        "meanLength": round(statistics.mean(data.lengths), 1),
        "medianLength": statistics.median(data.lengths),
        "longest": max(data.lengths),
        "learntTokens": data.learnt,
        "packedRows": data.rows,
    }


if __name__ == "__main__":
    sys.exit(main())
