"""Peak memory of packing and of near-duplicate detection, whose input is made up, not read.

python benchmarks/data/memory.py --tokens 600 --records 1
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np


def main() -> int:
    options = arguments()
    if options.only:
        print(json.dumps(packing(options) if options.only == "packing" else near(options)))
        return 0
    found = {}
    for part in ("packing", "near"):  # a process each, since a peak is that of its whole life
        given = [f"--tokens={options.tokens}", f"--records={options.records}", f"--only={part}"]
        done = subprocess.run(
            [sys.executable, __file__, *given], check=True, capture_output=True, text=True
        )
        found[part] = json.loads(done.stdout)
    print(json.dumps(found, indent=2))
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=float, default=600, help="Millions of tokens to pack.")
    parser.add_argument("--records", type=float, default=1, help="Millions of records to remember.")
    parser.add_argument("--only", choices=["packing", "near"])
    return parser.parse_args()


def packing(options: argparse.Namespace) -> dict[str, Any]:
    """Documents of 100 to 2,000 tokens, in pieces of at most 512."""
    from astrosage.data.shards import Document, Piece
    from astrosage.data.window import WindowedSplit

    length, wanted = 512, int(options.tokens * 1e6)
    numbers = np.random.default_rng(0)
    started, tokens = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        split = WindowedSplit(Path(folder), "train", length, 0)
        while tokens < wanted:
            ids = np.full(numbers.integers(100, 2000), tokens % 30000, np.int32)
            document = Document(f"document {split.documents}", "made-up.jsonl", split.documents)
            learned = np.ones(len(ids), np.uint8)
            parts = range(0, len(ids), length)
            split.add(
                [
                    Piece(document, n, ids[i : i + length], learned[i : i + length])
                    for n, i in enumerate(parts)
                ]
            )
            split.documents += 1
            tokens += len(ids)
            for file in Path(folder).glob("*.npy"):  # they would fill the disk
                file.unlink()
        summary = split.finish()
    return {
        "tokens": summary.tokens,
        "tokensPerSecond": round(tokens / (time.monotonic() - started)),
        "padding": round(1 - summary.tokens / (summary.sequences * length), 5),
        "peakMiB": peak(),
    }


def near(options: argparse.Namespace) -> dict[str, Any]:
    """Records of 300 words that have nothing in common."""
    from astrosage.data.near import NearDuplicates
    from astrosage.data.records import Record
    from astrosage.spec.deduplicate import Near

    count = int(options.records * 1e6)
    numbers = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(20000)])
    remembered = NearDuplicates(Near(enabled=True))
    before, started = peak(), time.monotonic()
    for i in range(count):
        text = " ".join(words[numbers.integers(0, len(words), 300)])
        assert remembered.find(Record(str(i), "made-up", i, text=text)) is None
    return {
        "records": count,
        "recordsPerSecond": round(count / (time.monotonic() - started)),
        "peakMiB": peak(),
        "bytesARecord": round((peak() - before) * 2**20 / count),
    }


def peak() -> int:
    """The most memory that the process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    sys.exit(main())
