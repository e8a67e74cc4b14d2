"""Everything that a report says, read from the run directory; what is not there is left empty."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astrosage.errors import NotFoundError
from astrosage.runs import metrics
from astrosage.runs.directory import ARTEFACTS, RunDirectory, StageDirectory
from astrosage.spec import graph
from astrosage.spec.job import AstroJob
from astrosage.spec.stages import Stage


@dataclass(frozen=True)
class StageFacts:
    """One stage of the run.

    Attributes:
        stage: As the job has it.
        phase: ``finished``, ``running``, ``failed``, ``stopped``, ``pending`` or ``not run``.
        entry: Its entry in the lineage.
        progress: Its entry in progress.json.
        metrics: Its metrics lines.
        manifest: Its artefact's manifest.
        summary: A bench stage's summary.
        records: A bench stage's records.
    """

    stage: Stage
    phase: str
    entry: Mapping[str, Any]
    progress: Mapping[str, Any]
    metrics: list[dict[str, Any]]
    manifest: Mapping[str, Any]
    summary: Mapping[str, Any]
    records: list[dict[str, Any]]

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.stage.name

    @property
    def kind(self) -> str:
        """The stage's kind."""
        return self.stage.kind

    @property
    def seconds(self) -> float | None:
        """How long it took."""
        cost = self.summary.get("cost") or {}
        for value in (self.entry.get("seconds"), self.progress.get("seconds"), cost.get("seconds")):
            if isinstance(value, int | float):
                return float(value)
        return None

    @property
    def peak_memory(self) -> float | None:
        """Its peak memory in bytes, where it was measured."""
        value = self.entry.get("peakMemoryBytes") or self.progress.get("peakMemoryBytes")
        return float(value) if isinstance(value, int | float) else None


@dataclass(frozen=True)
class RunFacts:
    """The run.

    Attributes:
        job: As submitted.
        job_text: Its YAML, as stored.
        progress: progress.json.
        stages: In running order.
    """

    job: AstroJob
    job_text: str
    progress: Mapping[str, Any]
    stages: list[StageFacts]

    @property
    def phase(self) -> str:
        """The run's phase; ``not started`` before the first report.

        A run whose stages are all finished has succeeded, even while its last stage writes this.
        """
        if self.stages and all(s.phase == "finished" for s in self.stages):
            return "succeeded"
        return str(self.progress.get("phase") or "not started")

    def of_kind(self, kind: str) -> list[StageFacts]:
        """The stages of a kind."""
        return [s for s in self.stages if s.kind == kind]


def gather(run: RunDirectory, fresh: Mapping[str, Path]) -> RunFacts:
    """Read a run directory.

    Args:
        run: The run directory.
        fresh: Local folders of bench artefacts that are complete but not yet in their place.

    Raises:
        NotFoundError, ConflictError: If there is no run, or another version made it.
    """
    job = run.job()
    entries = {a.get("stage"): a for a in run.lineage().get("artefacts") or []}
    progress = run.progress()
    live = {s.get("name"): s for s in progress.get("stages") or []}
    return RunFacts(
        job=job,
        job_text=run.storage.read_bytes("job.yaml").decode(errors="replace"),
        progress=progress,
        stages=[
            _stage(run, stage, entries.get(stage.name, {}), live.get(stage.name, {}), fresh)
            for stage in graph.order(job)
        ],
    )


def _stage(
    run: RunDirectory,
    stage: Stage,
    entry: Mapping[str, Any],
    progress: Mapping[str, Any],
    fresh: Mapping[str, Path],
) -> StageFacts:
    directory = run.stage(stage.name)
    manifest = directory.manifest(ARTEFACTS[stage.kind]) or {}
    summary, records = (
        _bench(directory, fresh.get(stage.name)) if stage.kind == "bench" else ({}, [])
    )
    finished = bool(manifest) or stage.name in fresh
    phase = "finished" if finished else str(progress.get("phase") or "not run")
    return StageFacts(
        stage, phase, entry, progress, metrics.read(directory.storage), manifest, summary, records
    )


def _bench(
    directory: StageDirectory, fresh: Path | None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        if fresh is not None:
            summary = (fresh / "summary.json").read_bytes()
            records = (fresh / "records.jsonl").read_bytes()
        elif directory.manifest("bench") is not None:
            summary = directory.storage.read_bytes("bench/summary.json")
            records = directory.storage.read_bytes("bench/records.jsonl")
        else:
            return {}, []
        return json.loads(summary), [json.loads(line) for line in records.splitlines()]
    except (NotFoundError, ValueError):
        return {}, []


def problem(facts: RunFacts) -> Mapping[str, Any]:
    """What ended the run, if something did."""
    error = facts.progress.get("error")
    return error if isinstance(error, dict) else {}
