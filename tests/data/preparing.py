"""A small corpus that takes every turn of a prepare stage, and windows as small as it is."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from astrosage.context import StageContext
from astrosage.data import checkpoints, filler, selection, window
from astrosage.spec.load import parse
from tests.data.formats.test_archive import make as make_tar

STEM = "Why is the sky dark when there are so many stars in it?"
WORDS = "star galaxy comet orbit light dust gas planet moon dark bright old young far near hot"
VARIANTS: dict[str, dict[str, Any]] = {
    "weights": {
        "deduplicate": {"near": {"enabled": True, "permutations": 32}},
        "clean": {
            "boilerplate": {"enabled": True, "minDocuments": 3},
            "quality": {"gopher": {"enabled": True, "minWords": 6, "minStopWords": 0}},
        },
        "validation": {"fraction": 0.2},
    },
    "mixture": {"mixture": {"temperature": 2.0}, "validation": {"fraction": 0.1}, "seed": 3},
    "chat": {"format": "chat", "validation": {"fraction": 0.1}},
    "stored": {"validation": {"fraction": 0.1}},  # papers and pages, which workers read
}


def small(patch: pytest.MonkeyPatch) -> None:
    """Windows, shards and batches of a few records; a checkpoint whenever there can be one."""
    patch.setattr(window, "WINDOW_PIECES", 40)
    patch.setattr(window, "ROWS_PER_SHARD", 8)
    patch.setattr(selection, "BATCH_RECORDS", 7)
    patch.setattr(filler, "BATCH_RECORDS", 5)
    patch.setattr(checkpoints, "SECONDS", 0.0)


def context(
    folder: Path, model: Path, variant: str, run: str = "t", **cluster: Any
) -> StageContext:
    """A stage over texts in ``folder``, which are made if they are not there."""
    options = VARIANTS[variant]
    made = _stored if variant == "stored" else _sources
    sources = made(folder, options.get("format") == "chat")
    quiz = folder / "quiz.jsonl"
    question = {"id": "q1", "question": STEM, "choices": ["It is not", "Light is late"]}
    quiz.write_text(json.dumps({**question, "answer": "B"}) + "\n")
    body = {
        "sources": sources,
        "pack": {"sequenceLength": 64},
        "decontaminate": {"against": [str(quiz)]},
        **options,
    }
    stage = {"name": "corpus", "prepare": body}
    spec: dict[str, Any] = {"model": str(model), "storage": str(folder / "runs"), "stages": [stage]}
    if cluster:
        spec["cluster"] = cluster
    job = parse({"metadata": {"name": run}, "spec": spec})
    return StageContext(job.to_yaml_dict(), "corpus", str(folder / "runs/default" / run), "k")


def files(context: StageContext) -> dict[str, bytes]:
    """All that the stage has left, by name."""
    folder = context.shards_path("corpus")
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def _sources(folder: Path, chat: bool) -> list[dict[str, Any]]:
    names = ["a0", "a1", "b"]
    chance = random.Random(5)
    records: list[dict[str, Any]] = [_record(i, chance, chat) for i in range(210)]
    for n, name in enumerate(names):
        part = records[70 * n : 70 * n + 70]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in part))
    paths = [f"{folder}/a*.jsonl", f"{folder}/b.jsonl"]
    return [
        {"path": paths[0], "weight": 1.5, "onError": "skip"},
        {"path": paths[1], "onError": "skip"},
    ]


def _stored(folder: Path, chat: bool) -> list[dict[str, Any]]:
    chance = random.Random(7)
    texts = [str(_record(i, chance, chat).get("text", "")) for i in range(140)]
    for part in range(2):
        papers = [
            (f"07{part}/070{part}.{i:04}.gz", _paper(text))
            for i, text in enumerate(texts[50 * part : 50 * part + 50], 1)
        ]
        (folder / f"papers{part}.tar").write_bytes(make_tar(*papers))
    pages = (
        f"<page><title>P{i}</title><ns>0</ns><revision><text>{text}</text></revision></page>"
        for i, text in enumerate(texts[100:])
    )
    (folder / "dump.xml").write_text(f"<mediawiki>{''.join(pages)}</mediawiki>")
    for i, text in enumerate(texts[:20]):
        page = gzip.compress(f"<p>Page {i}: {text}</p>".encode() if i != 7 else b"", mtime=0)
        (folder / f"page{i:02}.html.gz").write_bytes(page if i != 13 else page[:-9])
    return [
        {"path": f"{folder}/papers*.tar", "kind": "arxiv", "onError": "skip", "maxFailures": 0.3},
        {"path": f"{folder}/dump.xml", "kind": "wikipedia"},
        {"path": f"{folder}/page*.html.gz", "onError": "skip", "maxFailures": 0.2},
    ]


def _paper(text: str) -> bytes:
    """A paper with an unknown command; without a text, one that is cut short."""
    source = rf"\documentclass{{article}}\begin{{document}}\foo {text}\end{{document}}"
    packed = gzip.compress(source.encode(), mtime=0)
    return packed if text else packed[:-9]


def _record(number: int, chance: random.Random, chat: bool) -> dict[str, Any]:
    words = chance.choices(WORDS.split(), k=chance.randint(4, 120))
    if number % 9 == 8:  # like one before
        words = random.Random(number // 9 % 3).choices(WORDS.split(), k=80)
        words[number % 80] = f"word{number}"
    text = " ".join(words)
    if number % 31 == 30:
        return {"texts": "a record that cannot be read"}
    if chat:
        turns = [{"role": "user", "content": words[0]}, {"role": "assistant", "content": text}]
        return {"id": number, "messages": turns}
    text += "\n\nAll rights are with the authors."
    return {"id": number, "text": f"{text}\n\n{STEM}" if number % 40 == 3 else text}
