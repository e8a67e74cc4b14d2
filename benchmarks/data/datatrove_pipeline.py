"""The same work by datatrove; run by vs_datatrove.py with a Python that has it.

python -m venv /tmp/datatrove
/tmp/datatrove/bin/pip install 'datatrove[processing]==0.10.1' tokenizers spacy orjson
/tmp/datatrove/bin/python benchmarks/data/datatrove_pipeline.py CORPUS SCRATCH TOKENIZER WORKERS
"""

import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import C4QualityFilter, GopherQualityFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import DocumentTokenizer
from datatrove.pipeline.writers import JsonlWriter


def main() -> None:
    corpus, scratch, tokenizer, count = sys.argv[1:]
    workers = int(count)
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    c4 = C4QualityFilter(
        min_num_sentences=3, min_words_per_line=5, filter_curly_bracket=False, filter_policy=False
    )
    clean = JsonlWriter(f"{scratch}/clean", compression=None)
    signatures = MinhashDedupSignature(f"{scratch}/signatures", config=config)
    tokens = DocumentTokenizer(
        f"{scratch}/tokens",
        tokenizer,
        eos_token="<|endoftext|>",
        shuffle_documents=False,
        batch_size=256,
    )
    buckets = MinhashDedupBuckets(f"{scratch}/signatures", f"{scratch}/buckets", config=config)
    cluster = MinhashDedupCluster(f"{scratch}/buckets", f"{scratch}/remove", config=config)
    drop = MinhashDedupFilter(f"{scratch}/remove")
    first = [JsonlReader(corpus), GopherQualityFilter(), c4, clean, signatures]
    steps = {
        "read, filter, sign": (first, workers),
        "buckets": ([buckets], 14),
        "cluster": ([cluster], 1),
        "read, drop, tokenise": ([JsonlReader(f"{scratch}/clean"), drop, tokens], workers),
    }
    seconds, before = {}, cpu()
    for name, (pipeline, tasks) in steps.items():
        began = time.monotonic()
        LocalPipelineExecutor(
            pipeline,
            tasks=tasks,
            workers=min(workers, tasks),
            logging_dir=f"{scratch}/logs/{len(seconds)}",
            start_method="fork",
        ).run()
        seconds[name] = round(time.monotonic() - began, 1)
    made = sum(f.stat().st_size for f in Path(scratch, "tokens").glob("*.ds")) // 2
    found = {"datatrove": version("datatrove"), "tokenizers": version("tokenizers")}
    used = {"cpuSeconds": round(cpu() - before, 1), "tokens": made}
    print(json.dumps({**found, "seconds": seconds, **used}))


def cpu() -> float:
    """Of this process and those that it started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    main()
