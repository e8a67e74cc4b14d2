"""A whole prepare stage over a made-up corpus: documents and tokens a second, peak memory.

python benchmarks/data/whole.py --megabytes 200 --workers 1
python benchmarks/data/whole.py --megabytes 200 --workers 2 --cleaning none
python benchmarks/data/whole.py --latex FOLDER --megabytes 60 --workers 2

Reading JSONL, cleaning with the filters of Gopher and C4, exact and near-duplicates,
decontamination against a question file if one is given, tokenising, packing, writing. With
``--latex``, the corpus is one of arXiv's bulk archives, whose papers are the chapters in that
folder, over and over, and near-duplicates are kept. With ``--memory``, that of all processes of the
stage, sampled twice a second: each page once (PSS) and, larger, as they are usually added up (RSS).
That takes a seventh of a core, so it is not for comparing speeds.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

CLEAN = {"quality": {"gopher": {"enabled": True}, "c4": {"enabled": True}}}

BEGAN = "began"
"""Said when all is ready."""
SETTLING_SECONDS = 8
"""Some of Ray's processes still start when it says that it has started; a stage's own cluster has
that behind it."""


def main() -> int:
    options = arguments()
    if options.only:
        print(json.dumps(prepare(options)))
        return 0
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        corpus = options.corpus or Path(scratch) / "corpus"
        if not corpus.exists():
            make_corpus(corpus, options)
        command = [sys.executable, __file__, *sys.argv[1:], "--only", f"--corpus={corpus}"]
        with subprocess.Popen(
            [*command, f"--scratch={scratch}"], stdout=subprocess.PIPE, text=True
        ) as process:
            peak = Peak(process.pid) if options.memory else None
            assert process.stdout is not None
            output = process.stdout.read()
        found = json.loads(output.splitlines()[-1]) | (peak.stop() if peak else {})
    print(json.dumps(found, indent=2))
    return 0


def make_corpus(corpus: Path, options: argparse.Namespace) -> None:
    """Of papers or made-up documents."""
    if options.latex is not None:
        papers(corpus, options.latex, options.megabytes)
    else:
        from made_up import make

        make(corpus, options.megabytes, options.model)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--cleaning", choices=["all", "none"], default="all")
    parser.add_argument("--questions", type=Path)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--corpus", type=Path, help="Made if it is not there.")
    parser.add_argument("--latex", type=Path, help="Where chapters in LaTeX lie.")
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--memory", action="store_true", help="Watch memory; takes time.")
    parser.add_argument("--slowed", type=float, default=1.0, help=argparse.SUPPRESS)
    parser.add_argument("--only", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def papers(folder: Path, chapters: Path, megabytes: float) -> None:
    """An archive as arXiv has them: a paper is a chapter with a first sentence of its own."""
    folder.mkdir()
    texts = [f.read_bytes() for f in sorted(chapters.rglob("*.tex")) if f.stat().st_size > 20_000]
    begin = rb"\documentclass{article}\begin{document}"
    left, number = megabytes * 1e6, 0
    with tarfile.open(folder / "arXiv_src_0704_001.tar", "w") as archive:
        while left > 0:
            text = texts[number % len(texts)]
            number += 1
            own = f"This is the paper with the number {number} of this archive.\n\n".encode()
            packed = gzip.compress(begin + own + text + rb"\end{document}", mtime=0)
            info = tarfile.TarInfo(f"0704/0704.{number:04d}.gz")
            info.size = len(packed)
            archive.addfile(info, io.BytesIO(packed))
            left -= len(text)


def prepare(options: argparse.Namespace) -> dict[str, Any]:
    """Run the stage in this process."""
    from astrosage.context import StageContext
    from astrosage.data import checkpoints
    from astrosage.data.run import run
    from astrosage.runs import manifest
    from astrosage.spec.load import parse

    checkpoints.SECONDS *= options.slowed  # as many as if it had the machine all the time
    if options.workers > 1:
        import ray

        ray.init(num_cpus=options.workers, include_dashboard=False, log_to_driver=False)
        time.sleep(SETTLING_SECONDS)
    every = options.cleaning == "all"
    source = {"path": f"{options.corpus}/*.jsonl"}
    if options.latex is not None:
        source = {"path": f"{options.corpus}/*.tar", "kind": "arxiv", "onError": "skip"}
    body: dict[str, Any] = {
        "sources": [source],
        "clean": CLEAN if every else {},
        "deduplicate": {"near": {"enabled": every and options.latex is None}},
        "decontaminate": {"against": [str(options.questions)] if options.questions else []},
    }
    job = parse(
        {
            "metadata": {"name": "whole"},
            "spec": {
                "model": options.model,
                "storage": str(options.scratch / "runs"),
                "stages": [{"name": "corpus", "prepare": body}],
                "cluster": {"workers": options.workers},
            },
        }
    )
    uri = str(options.scratch / "runs/default/whole")
    context = StageContext(job.to_yaml_dict(), "corpus", uri, "whole")
    print(BEGAN, flush=True)
    began, before = time.monotonic(), time.process_time()
    run(context)
    seconds, used = time.monotonic() - began, time.process_time() - before
    made = manifest.verify(context.shards_path("corpus"))
    report, tokens = made["report"], made["splits"]["train"]["tokens"]
    size = sum(file.stat().st_size for file in options.corpus.iterdir())
    return {
        "megabytes": round(size / 1e6, 1),
        "workers": options.workers,
        "seconds": round(seconds, 1),
        "cpuSeconds": round(used, 1) if options.workers == 1 else None,
        "documents": report["records"],
        "kept": report["kept"],
        "nearDuplicates": report["nearDuplicates"],
        "tokens": tokens,
        "documentsPerSecond": round(report["records"] / seconds, 1),
        "tokensPerSecond": round(tokens / seconds),
        "load": os.getloadavg()[0],
    }


class Peak:
    """The most memory that a process and those that it started have had together."""

    def __init__(self, process: int) -> None:
        self._process, self._ended = process, threading.Event()
        self._peak = {"Pss": 0, "Rss": 0}
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> dict[str, int]:
        """In MiB."""
        self._ended.set()
        self._thread.join()
        return {f"peak{name}MiB": kib // 1024 for name, kib in self._peak.items()}

    def _watch(self) -> None:
        while not self._ended.wait(0.5):
            found = [_memory(process) for process in family(self._process)]
            for name in self._peak:
                self._peak[name] = max(self._peak[name], sum(m.get(name, 0) for m in found))


def family(process: int) -> list[int]:
    """A process and all that it and they have started."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        parents.setdefault(parent, []).append(int(folder.name))
    family = [process]
    for member in family:
        family += parents.get(member, [])
    return family


def _memory(process: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    return {name: int(rest.split()[0]) for name, rest in (line.split(":", 1) for line in lines)}


if __name__ == "__main__":
    sys.exit(main())
