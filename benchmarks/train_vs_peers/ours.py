"""The same work through `astroctl`, as users run it: a run file, Ray Train, metrics.jsonl.

    python ours.py --model … --chat … --out … --steps 10

Tokenising and packing are a stage of the run; the steps are read from the metrics afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from contestants import PRECISION

from astrosage.runs import metrics
from astrosage.runs.directory import RunDirectory
from astrosage.spec.load import parse

ASTROCTL = Path(sys.executable).parent / "astroctl"
NAME = "train-vs-peers"


def main() -> int:
    options = arguments()
    job = job_of(options)
    file = options.out / "job.yaml"
    file.write_text(yaml.safe_dump(job, sort_keys=False), encoding="utf-8")
    environment = dict(os.environ, ASTROCTL_HOME=str(options.out / "home"), OMP_NUM_THREADS="1")
    submit = [str(ASTROCTL), "submit", "train", "-f", str(file), "--follow"]
    try:
        subprocess.run(submit, check=True, env=environment)
        stage = RunDirectory.of(parse(job, source=str(file))).stage("sft").storage
        write_steps(metrics.read(stage), options.out / "steps.jsonl")
        assert stage.local is not None
        shutil.move(stage.local / "model", options.out / "model")
    finally:
        subprocess.run([str(ASTROCTL), "down"], check=False, env=environment)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--chat", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--sequence-length", type=int, default=512)
    parser.add_argument("--micro-batch", type=int, default=8)
    parser.add_argument("--single", action="store_true", help="A sequence at a time.")
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--zero", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


def job_of(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "apiVersion": "astrosage.io/v1alpha1",
        "kind": "AstroJob",
        "metadata": {"name": NAME},
        "spec": {
            "model": options.model,
            "storage": str(options.out / "runs"),
            "cluster": {"workers": options.workers, "resourcesPerWorker": {"cpu": 1}},
            "stages": [
                {
                    "name": "chat",
                    "prepare": {
                        "format": "chat",
                        "sources": [{"path": str(options.chat)}],
                        # Conversations of one pair occur more than once; all contestants
                        # learn from the same records.
                        "deduplicate": False,
                        "pack": {"sequenceLength": options.sequence_length},
                    },
                },
                {
                    "name": "sft",
                    "train": {
                        "objective": "sft",
                        "data": "chat",
                        "maxSteps": options.steps,
                        "learningRate": options.learning_rate,
                        "schedule": "constant",
                        "warmupRatio": 0.0,
                        "precision": PRECISION,
                        "globalBatchSize": options.micro_batch * options.workers,
                        "microBatchSize": 1 if options.single else options.micro_batch,
                        "zero": {"stage": options.zero},
                        "checkpoint": {"everySteps": 10_000},
                    },
                },
            ],
        },
    }


def write_steps(lines: list[dict[str, Any]], file: Path) -> None:
    """One line a step as the peers write them; a step's time ends when the next line is written,
    so that nothing between steps is left out.
    """
    done: list[dict[str, Any]] = []
    before: dict[str, Any] = {}
    for line in lines:
        if "loss" not in line:
            continue
        seconds = line["time"] - before["time"] if before else line["stepSeconds"]
        step = {
            "time": line["time"],
            "seconds": seconds,
            "tokens": line["tokens"] - before.get("tokens", 0),
            "loss": line["loss"],
            "reportedShareOfPeak": line["mfu"],
        }
        step |= {part: line["seconds"][part] for part in ("forward", "backward")}
        done.append(step)
        before = line
    file.write_text("".join(json.dumps(x) + "\n" for x in done), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
