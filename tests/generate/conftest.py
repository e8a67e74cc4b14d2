from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from astrosage.context import StageContext
from astrosage.endpoints import service as transport
from astrosage.generate import run as stage
from astrosage.runs.directory import RunDirectory
from astrosage.runs.generated import with_places
from astrosage.spec.job import AstroJob
from astrosage.spec.load import parse
from tests.endpoints.fake_service import Service
from tests.generate import writing


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A service that writes and grades well, until told otherwise."""
    monkeypatch.setattr(transport, "_FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(transport, "_LONGEST_PAUSE_SECONDS", 0.02)
    found = Service()
    found.answer = writing.answer
    yield found
    found.close()


class Stage:
    """A run with one generate stage, ``qa``, and others if told."""

    def __init__(self, folder: Path, url: str, texts: int = 6, **options: Any) -> None:
        self.folder = folder
        sources = folder / "texts"
        sources.mkdir(parents=True, exist_ok=True)
        for i in range(texts):
            (sources / f"{i:03}.md").write_text(writing.article(100 * i), encoding="utf-8")
        more = options.pop("more", [])
        model = options.pop("base", "org/model")
        grader = options.pop("grader", {})
        spec: dict[str, Any] = {
            "sources": [{"path": str(sources / "*.md"), "license": "CC-BY-4.0"}],
            "passages": {"minWords": 20, "maxWords": 80},
            "writer": {"url": url, "model": "writer", **options.pop("writer", {})},
            **options,
        }
        if grader is not None:
            spec["grader"] = {"url": url, "model": "grader", **grader}
        self.data: dict[str, Any] = {
            "metadata": {"name": "one"},
            "spec": {
                "model": model,
                "storage": str(folder / "runs"),
                "stages": [{"name": "qa", "generate": spec}, *more],
            },
        }

    @property
    def job(self) -> AstroJob:
        return parse(self.data)

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory.of(self.job)

    def context(self, name: str = "qa") -> StageContext:
        found = self.directory
        if not found.exists():
            found.create(self.job)
        job = with_places(self.job, found)
        return StageContext(job.to_yaml_dict(), name, found.uri, "k")

    def run(self) -> Path:
        """Run it; where its artefact is."""
        stage.run(self.context())
        return Path(self.directory.uri) / "stages/qa/generated"

    def records(self, name: str = "chat.jsonl") -> list[dict[str, Any]]:
        file = Path(self.directory.uri) / "stages/qa/generated" / name
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]

    def report(self) -> dict[str, Any]:
        made = self.directory.finished(self.job.stage("qa"))
        assert made is not None
        report: dict[str, Any] = made["report"]
        return report


@pytest.fixture
def make(tmp_path: Path, service: Service) -> Callable[..., Stage]:
    """Makes a stage that asks the service."""
    return lambda name="a", **options: Stage(tmp_path / name, service.url, **options)
