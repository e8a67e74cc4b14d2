"""Training speed of non-padding tokens, as a share of this machine's matrix-product rate.

    python benchmarks/training.py --workers 2 --micro-batch 8 --steps 8

Submits a real run (Ray Train, DeepSpeed ZeRO-3, the sample articles) and reads its metrics. The
peak is measured by the workers themselves, at the same time on all of them, just before training;
MFU is as defined in astrosage/train/throughput.py. The first two steps warm up and do not count.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from astrosage.runs import metrics
from astrosage.runs.directory import RunDirectory
from astrosage.spec.load import load

ROOT = Path(__file__).resolve().parent.parent
ASTROCTL = Path(sys.executable).parent / "astroctl"
WARM_UP_STEPS = 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--micro-batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--zero", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-training-") as storage:
        settings = [
            "metadata.name=bench-training",
            f"spec.storage={storage}",
            f"spec.cluster.workers={options.workers}",
            "spec.stages.cpt.train.epochs=null",
            f"spec.stages.cpt.train.maxSteps={options.steps}",
            f"spec.stages.cpt.train.globalBatchSize={options.micro_batch * options.workers}",
            f"spec.stages.cpt.train.microBatchSize={options.micro_batch}",
            f"spec.stages.cpt.train.zero.stage={options.zero}",
        ]
        job_file = ROOT / "examples/quickstart.yaml"
        run = RunDirectory.of(load(job_file, settings))
        command = [str(ASTROCTL), "submit", "train", "-f", str(job_file)]
        command += ["--until", "cpt", "--follow"]
        command += [part for s in settings for part in ("--set", s)]
        try:
            subprocess.run(command, check=True, stdout=sys.stderr)
            report(run, options.workers)
        finally:
            delete = [str(ASTROCTL), "delete", "bench-training", "--yes"]
            subprocess.run(delete, check=False, stdout=sys.stderr)
    return 0


def report(run: RunDirectory, workers: int) -> None:
    lines = [m for m in metrics.read(run.stage("cpt").storage) if "loss" in m][WARM_UP_STEPS:]
    made = run.stage("cpt").manifest("model")
    assert made is not None
    facts = made["training"]
    rates = [m["tokensPerSecond"] for m in lines]
    shares = [m["mfu"] for m in lines]
    result = {
        "workers": workers,
        "steps": len(lines),
        "tokensPerSecond": {
            "median": statistics.median(rates),
            "min": min(rates),
            "max": max(rates),
        },
        "shareOfPeak": {"median": statistics.median(shares), "max": max(shares)},
        "peakOfOneWorker": facts["mfuPeak"],
        "peakMemoryPerWorkerBytes": facts["peakMemoryBytes"],
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    sys.exit(main())
