"""The run directory: everything that a run did, in one place.

::

    <storage>/<namespace>/<name>/
        job.yaml  lineage.json  progress.json
        stages/<stage>/
            spec.json  metrics.jsonl  logs/
            shards/ | generated/ | checkpoints/ | model/ | bench/
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import yaml

from astrosage.errors import ConflictError, NotFoundError
from astrosage.runs import manifest
from astrosage.runs.storage import Storage
from astrosage.spec.job import AstroJob
from astrosage.spec.stages import Stage

FORMAT_VERSION = 1
_STOP = "stop-requested.json"
ARTEFACTS = {
    "prepare": "shards",
    "generate": "generated",
    "train": "model",
    "merge": "model",
    "bench": "bench",
}


class StageDirectory:
    """The part of a run directory that belongs to one stage."""

    def __init__(self, storage: Storage, name: str) -> None:
        self.storage, self.name = storage, name

    def manifest(self, artefact: str) -> dict[str, Any] | None:
        """The manifest of a finished artefact (``shards``, ``model``, ``bench``), or None."""
        try:
            value: dict[str, Any] = self.storage.read_json(f"{artefact}/{manifest.NAME}")
        except NotFoundError:
            return None
        return value

    def log_names(self) -> list[str]:
        """Names of the stage's log files."""
        return self.storage.names("logs")

    def log(self, name: str) -> str:
        """A log file's text."""
        return self.storage.read_bytes(f"logs/{name}").decode(errors="replace")


class RunDirectory:
    """One run's directory.

    Args:
        uri: ``<storage>/<namespace>/<name>``.
    """

    def __init__(self, uri: str | Path | Storage) -> None:
        self.storage = uri if isinstance(uri, Storage) else Storage(uri)

    @classmethod
    def of(cls, job: AstroJob) -> RunDirectory:
        """The directory that a job's run has."""
        root = Storage(job.spec.storage)
        return cls(root.child(job.metadata.namespace, job.metadata.name))

    @property
    def uri(self) -> str:
        """Where it is."""
        return self.storage.uri

    @property
    def name(self) -> str:
        """The run's name."""
        return self.uri.rstrip("/").rsplit("/", 1)[-1]

    def exists(self) -> bool:
        """Whether a run of this name was submitted."""
        return self.storage.exists("job.yaml")

    def create(self, job: AstroJob) -> None:
        """Claim the directory for a new run.

        Raises:
            ConflictError: If a run of this name is there.
            StorageError: If the storage cannot be written.
        """
        if self.exists():
            raise ConflictError(
                f"metadata.name: a run `{job.metadata.name}` exists already in {self.uri}",
                f"go on with it: `astroctl resume {job.metadata.name}`; remove it: `astroctl "
                f"delete {job.metadata.name}`; or choose another name: `--set metadata.name=…`",
            )
        self.storage.check_writable()
        self.storage.write_json(
            "lineage.json", {"formatVersion": FORMAT_VERSION, "run": job.key, "artefacts": []}
        )
        self.write_job(job)

    def write_job(self, job: AstroJob) -> None:
        """Store the job, defaults filled in."""
        text = yaml.safe_dump(job.to_yaml_dict(), sort_keys=False, allow_unicode=True)
        self.storage.write_bytes("job.yaml", text.encode())

    def job(self) -> AstroJob:
        """The job as submitted.

        Raises:
            NotFoundError: If there is no run here.
            ConflictError: If another version made the directory.
        """
        from astrosage.spec.load import parse

        try:
            raw = self.storage.read_bytes("job.yaml")
        except NotFoundError:
            raise NotFoundError(
                f"no run in {self.uri}", "`astroctl list` shows the runs that are known here"
            ) from None
        self.check_version()
        return parse(yaml.safe_load(raw), source=self.storage.path("job.yaml"))

    def check_version(self) -> None:
        """Refuse a directory made by another version of the format."""
        found = self.lineage().get("formatVersion")
        if found != FORMAT_VERSION:
            raise ConflictError(
                f"{self.storage.path('lineage.json')}: formatVersion {found!r}, this version of "
                f"astrosage reads {FORMAT_VERSION}",
                "use the astrosage version that made the run, or submit under a new name",
            )

    def lineage(self) -> dict[str, Any]:
        """The lineage record."""
        try:
            value: dict[str, Any] = self.storage.read_json("lineage.json")
        except NotFoundError:
            raise NotFoundError(
                f"{self.storage.path('lineage.json')} is missing: the run directory is incomplete",
                "restore it, or `astroctl delete` the run and submit again",
            ) from None
        return value

    def progress(self) -> dict[str, Any]:
        """The latest state; empty before the first report."""
        try:
            value: dict[str, Any] = self.storage.read_json("progress.json")
        except NotFoundError:
            return {}
        return value

    def write_progress(self, progress: dict[str, Any]) -> None:
        """Replace the latest state atomically."""
        self.storage.write_json("progress.json", {"formatVersion": FORMAT_VERSION, **progress})

    def request_stop(self) -> None:
        """Ask the driver's training to take a checkpoint and end."""
        self.storage.write_json(_STOP, {"requestedAt": round(time.time(), 3)})

    def stop_requested(self) -> bool:
        """Whether a stop has been asked for."""
        return self.storage.exists(_STOP)

    def clear_stop(self) -> None:
        """Forget the request, since it was heeded or another attempt begins."""
        self.storage.remove(_STOP)

    def stage(self, name: str) -> StageDirectory:
        """A stage's directory."""
        return StageDirectory(self.storage.child("stages", name), name)

    def finished(self, stage: Stage) -> dict[str, Any] | None:
        """The manifest of the stage's artefact if it is there, else None."""
        return self.stage(stage.name).manifest(ARTEFACTS[stage.kind])

    def delete(self) -> None:
        """Remove the whole directory."""
        self.storage.remove()
