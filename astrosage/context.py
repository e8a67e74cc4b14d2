"""What a stage is given when it runs: its spec, its run directory, its inputs as local paths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from astrosage.models.fetch import ensure_local
from astrosage.runs.directory import RunDirectory, StageDirectory
from astrosage.runs.metrics import MetricsWriter
from astrosage.spec.cluster import Cluster
from astrosage.spec.job import AstroJob
from astrosage.spec.load import parse
from astrosage.spec.stages import Stage


@dataclass(frozen=True)
class StageContext:
    """One stage of one run; plain enough to be sent to Ray workers.

    Attributes:
        job_data: The job as plain data.
        stage_name: Which of its stages runs.
        run_uri: The run directory.
        key: Hash of the stage's spec and inputs; goes into the artefact's manifest.
    """

    job_data: dict[str, Any]
    stage_name: str
    run_uri: str
    key: str

    @property
    def job(self) -> AstroJob:
        """The whole run."""
        return parse(self.job_data, source=self.run_uri)

    @property
    def stage(self) -> Stage:
        """This stage."""
        return self.job.stage(self.stage_name)

    @property
    def cluster(self) -> Cluster:
        """Where this stage runs."""
        job = self.job
        return job.cluster_of(job.stage(self.stage_name))

    @property
    def run(self) -> RunDirectory:
        """The run directory."""
        return RunDirectory(self.run_uri)

    @property
    def directory(self) -> StageDirectory:
        """This stage's part of the run directory."""
        return self.run.stage(self.stage_name)

    def metrics(self, after_step: int | None = None) -> MetricsWriter:
        """A writer for this stage's metrics.jsonl."""
        return MetricsWriter(self.directory.storage, after_step)

    def model_path(self, reference: str | None) -> Path:
        """A local Hugging Face directory for a stage's model, an alias, a path or a hub id.

        Args:
            reference: As written in the run file; None means the run's base model.
        """
        value = reference or self.job.spec.model
        if value in {s.name for s in self.job.spec.stages}:
            return self._artefact(value, "model")
        return ensure_local(value)

    def shards_path(self, stage_name: str) -> Path:
        """A local folder with the token shards of a prepare stage."""
        return self._artefact(stage_name, "shards")

    def _artefact(self, stage_name: str, artefact: str) -> Path:
        cache = Path(gettempdir()) / "astrosage" / self.run.name / stage_name
        return self.run.stage(stage_name).storage.localize(artefact, cache)
