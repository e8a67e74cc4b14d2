"""From ``astroctl submit`` to the end of the first optimizer step, with and without a running head.

    python benchmarks/startup.py

The sample corpus and SmolLM2-135M, two one-core workers, ZeRO-3. The base model must be cached
(``make model``). Data preparation and the validation before the first step are included.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from astrosage.runs import metrics
from astrosage.runs.directory import RunDirectory
from astrosage.spec.load import load

ROOT = Path(__file__).resolve().parent.parent
ASTROCTL = Path(sys.executable).parent / "astroctl"
_LIMIT_SECONDS = 300


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="bench-startup-") as folder:
        environment = dict(os.environ, ASTROCTL_HOME=f"{folder}/home")
        try:
            found = {
                case: seconds(case, f"{folder}/runs", environment) for case in ("cold", "warm")
            }
        finally:
            call(["down"], environment)
    print(json.dumps(found, indent=2))
    return 0


def seconds(case: str, storage: str, environment: dict[str, str]) -> dict[str, float]:
    settings = [
        f"metadata.name={case}",
        f"spec.storage={storage}",
        "spec.stages.cpt.train.epochs=null",
        "spec.stages.cpt.train.maxSteps=1",
    ]
    job = ROOT / "examples/quickstart.yaml"
    stage = RunDirectory.of(load(job, settings)).stage("cpt").storage
    began = time.time()
    overrides = [part for s in settings for part in ("--set", s)]
    call(["submit", "train", "-f", str(job), "--until", "cpt", *overrides], environment)
    accepted = time.time()
    first = None
    while first is None:
        assert time.time() - began < _LIMIT_SECONDS, "no step was made"
        time.sleep(0.1)
        first = next((m["time"] for m in metrics.read(stage) if "loss" in m), None)
    call(["status", case, "--watch"], environment)
    return {"accepted": round(accepted - began, 1), "firstStep": round(first - began, 1)}


def call(arguments: list[str], environment: dict[str, str]) -> None:
    subprocess.run([str(ASTROCTL), *arguments], env=environment, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
