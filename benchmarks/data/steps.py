"""Documents and tokens a second of each step of a prepare stage, alone, on one core.

python benchmarks/data/steps.py --texts corpus.jsonl --questions quiz.jsonl --results RESULTS.md

``tokenizers`` is the rate of the library itself on the same texts; tokenise and pack is measured
against it. Best of several rounds, since other work on the machine only ever makes a round slower.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from astrosage.bench.questions import load
from astrosage.data.clean import clean
from astrosage.data.cleaning import Cleaner
from astrosage.data.decontaminate import Decontaminator, QuestionIndex
from astrosage.data.deduplicate import record_key
from astrosage.data.near import NearDuplicates
from astrosage.data.records import Record
from astrosage.data.shards import Document, Piece, Split, write_split
from astrosage.data.tokenise import TextEncoder, load_tokenizer, split
from astrosage.models.fetch import ensure_local
from astrosage.spec.clean import Clean
from astrosage.spec.deduplicate import Near

LENGTH, BATCH = 512, 256
CLEAN = {
    "mojibake": True,
    "zeroWidth": True,
    "hyphenation": True,
    "debris": {"enabled": True},
    "quality": {"gopher": {"enabled": True}, "repetition": {"enabled": True}},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--questions", required=True)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    records = read(options.texts)
    tokenizer = load_tokenizer(ensure_local(options.model))
    encoder = TextEncoder(tokenizer)
    tokens = sum(map(len, encode(encoder, records)))
    found: dict[str, dict[str, float]] = {}
    for name, work in steps(records, options.questions, encoder, tokenizer).items():
        seconds = min(timed(work) for _ in range(options.rounds))
        found[name] = {
            "documentsPerSecond": round(len(records) / seconds, 1),
            "tokensPerSecond": round(tokens / seconds),
        }
        print(name, found[name], flush=True)
    ratio = found["tokenise and pack"]["tokensPerSecond"] / found["tokenizers"]["tokensPerSecond"]
    facts = {"documents": len(records), "tokens": tokens, "ofTokenizersRate": round(ratio, 3)}
    print(json.dumps({**facts, "steps": found}, indent=2))
    if options.results:
        options.results.write_text(page(facts, found), encoding="utf-8")
    return 0


def read(path: Path) -> list[Record]:
    """The texts, in records of at most 20,000 characters: about as long as a paper's section."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = json.loads(line)["text"]
        for i in range(0, len(text), 20_000):
            part = clean(Record(f"r{len(records)}", str(path), 1, text[i : i + 20_000]))
            records.append(part)
    return records


def steps(
    records: list[Record], questions: str, encoder: TextEncoder, tokenizer: Any
) -> dict[str, Callable[[], object]]:
    """Each step over all records."""

    def decontaminate(*ngrams: int) -> Callable[[], object]:
        index = QuestionIndex(*ngrams)
        index.add(load(questions, "questions", None), questions)
        return lambda: [Decontaminator(index, "remove").apply(r) for r in records]

    def near() -> object:
        remembered = NearDuplicates(Near(enabled=True))
        return [remembered.find(r) for r in records]

    def pack() -> object:
        found = Split("train")
        for record, ids in zip(records, encode(encoder, records), strict=True):
            document = Document(record.id, record.source, record.line)
            learned = ids > -1
            parts = enumerate(split(ids, LENGTH))
            found.add([Piece(document, n, p, learned[: len(p)]) for n, p in parts])
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            return write_split(Path(folder), found, LENGTH, 0)

    def raw() -> object:
        backend = tokenizer.backend_tokenizer
        texts = [r.text for r in records]
        batches = (texts[i : i + BATCH] for i in range(0, len(texts), BATCH))
        return [len(backend.encode_batch_fast(b, add_special_tokens=False)) for b in batches]

    cleaner = Cleaner(Clean.model_validate(CLEAN), "clean")
    return {
        "NFC, newlines, controls": lambda: [clean(r) for r in records],
        "cleaning and filters": lambda: [cleaner.apply(r) for r in records],
        "exact keys": lambda: [record_key(r) for r in records],
        "near-duplicates": near,
        "decontamination, 13": decontaminate(13),
        "decontamination, 13 and 8": decontaminate(13, 8),
        "tokenizers": raw,
        "tokenise and pack": pack,
    }


def encode(encoder: TextEncoder, records: list[Record]) -> list[Any]:
    found = []
    for i in range(0, len(records), BATCH):
        found += encoder.encode([r.text for r in records[i : i + BATCH]])
    return found


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def page(facts: dict[str, Any], found: dict[str, dict[str, float]]) -> str:
    """RESULTS.md."""
    lines = [
        "# Steps of a prepare stage",
        "",
        f"Made by `benchmarks/data/steps.py` on {datetime.now():%Y-%m-%d}: "
        f"{os.cpu_count()} cores shared with other work, Python {platform.python_version()}; one "
        f"process, one thread, {facts['documents']} documents, {facts['tokens']:,} tokens.",
        "",
        "| step | documents/s | tokens/s |",
        "|---|---|---|",
    ]
    lines += [
        f"| {name} | {row['documentsPerSecond']:,.0f} | {row['tokensPerSecond']:,.0f} |"
        for name, row in found.items()
    ]
    share = f"{100 * facts['ofTokenizersRate']:.0f} %"
    return "\n".join([*lines, "", f"Tokenise and pack: {share} of the rate of `tokenizers`.", ""])


if __name__ == "__main__":
    sys.exit(main())
