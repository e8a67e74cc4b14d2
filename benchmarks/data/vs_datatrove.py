"""A prepare stage beside datatrove: the same corpus, tokenizer, machine and number of processes.

python benchmarks/data/vs_datatrove.py --megabytes 50 --datatrove /tmp/datatrove/bin/python

How to get datatrove is in datatrove_pipeline.py. Runs alternate, so that what else a machine does
falls on all alike; the best of each is told. With one process the time that it had a core for is
told too, which hardly depends on what else runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=float, default=50)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--datatrove", required=True, help="A Python that has it.")
    parser.add_argument("--model", default="smollm2-135m")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        from made_up import make

        corpus = Path(scratch) / "corpus"
        documents = make(corpus, options.megabytes, options.model)
        files = sorted(corpus.iterdir())
        if len(files) < max(options.workers):  # datatrove parts work by files
            _split(files, max(options.workers))
        best: dict[str, dict[str, Any]] = {}
        for _ in range(options.rounds):
            for workers in options.workers:
                for name, measure in (("astrosage", ours), ("datatrove", theirs)):
                    found = measure(options, corpus, workers)
                    print(name, workers, json.dumps(found), flush=True)
                    label = f"{name}, {workers}"
                    if label not in best or found["seconds"] < best[label]["seconds"]:
                        best[label] = found
    for label, found in best.items():
        seconds = found["seconds"]
        rates = f"{documents / seconds:,.0f} | {found['tokens'] / seconds:,.0f}"
        print(f"| {label} | {rates} | {found.get('cpuSeconds')} |")
    return 0


def ours(options: argparse.Namespace, corpus: Path, workers: int) -> dict[str, Any]:
    given = [f"--corpus={corpus}", f"--workers={workers}", f"--model={options.model}"]
    command = [sys.executable, str(HERE / "whole.py"), *given]
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}  # a process, a core
    done = subprocess.run(
        command, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    return dict(json.loads(done.stdout[done.stdout.rindex(b"{") :]))


def theirs(options: argparse.Namespace, corpus: Path, workers: int) -> dict[str, Any]:
    from astrosage.models.fetch import ensure_local

    tokenizer = ensure_local(options.model) / "tokenizer.json"
    with tempfile.TemporaryDirectory() as scratch:
        given = [str(corpus), scratch, str(tokenizer), str(workers)]
        script = str(HERE / "datatrove_pipeline.py")
        done = subprocess.run(
            [options.datatrove, script, *given],
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    found = dict(json.loads(done.stdout.splitlines()[-1]))
    return {**found, "steps": found["seconds"], "seconds": sum(found["seconds"].values())}


def _split(files: list[Path], parts: int) -> None:
    lines = [line for file in files for line in file.read_bytes().splitlines(keepends=True)]
    for file in files:
        file.unlink()
    size = -(-len(lines) // parts)
    for n in range(parts):
        part = files[0].with_name(f"part-{n:03d}.jsonl")
        part.write_bytes(b"".join(lines[n * size : (n + 1) * size]))


if __name__ == "__main__":
    sys.exit(main())
