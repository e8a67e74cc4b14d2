from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from astrosage.spec.job import AstroJob
from astrosage.spec.load import parse, with_absolute_paths
from tests.runs import s3


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    with s3.server() as address:
        yield address


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    return s3.bucket(endpoint, monkeypatch)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASTROCTL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Texts with equal names in two folders, chats, questions, and things that must stay here."""
    root = tmp_path / "work"
    for name, text in {
        "texts/a.md": "A star shines by fusing hydrogen.",
        "texts/deep/a.md": "Planets move on ellipses.",
        "texts/a-c/b.md": "Comets have tails.",
        "texts/.hidden/c.md": "Not for training.",
        "one.txt": "One text.",
        ".env": "KEY=secret",
        "quiz.jsonl": json.dumps(
            {"id": "q", "question": "What?", "choices": ["a", "b"], "answer": "A"}
        ),
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


JobMaker = Callable[..., AstroJob]


@pytest.fixture
def make_job(folder: Path, tiny_model: Path) -> JobMaker:
    """``make_job(storage, sources=…, …)``: a job with absolute paths."""

    def make(storage: str, **changes: Any) -> AstroJob:
        prepare = {
            "sources": [{"path": p} for p in changes.get("sources", ["texts/**/*.md", "one.txt"])],
            "decontaminate": {"against": changes.get("against", ["quiz.jsonl"])},
        }
        stages: list[dict[str, Any]] = [
            {"name": "corpus", "prepare": prepare},
            {"name": "cpt", "train": {"objective": "cpt", "data": "corpus"}},
            {
                "name": "score",
                "bench": {
                    "model": "cpt",
                    "baseline": "smollm2-135m",
                    "questions": [{"path": "quiz.jsonl"}],
                    "heldout": [{"path": "one.txt"}],
                },
            },
        ]
        spec = {"model": changes.get("model", str(tiny_model)), "storage": storage}
        data = {"metadata": {"name": "job"}, "spec": {**spec, "stages": stages}}
        return with_absolute_paths(parse(data), folder)

    return make
