"""What the command line asks of the place that runs are at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from astroctl.runs.registry import Record
from astroctl.runs.state import View
from astrosage.runs.directory import RunDirectory
from astrosage.spec.job import AstroJob
from astrosage.spec.stages import Stage

Logs = Callable[[], Mapping[str, str]]
"""Reads ``name -> whole text so far``; a name that is empty gets no header."""


@dataclass(frozen=True)
class Plan:
    """What a submit would do.

    Attributes:
        job: As it would be submitted.
        directory: The run directory.
        exists: Whether a run of that name is there already.
        stages: ``name``, ``kind`` and ``state`` (finished, take over, run, leave out) of each.
        warnings: What a person should know.
        notes: What else would happen, such as uploads.
        data: More for JSON and YAML.
    """

    job: AstroJob
    directory: str
    exists: bool
    stages: list[dict[str, str]]
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)


class Runs(Protocol):
    """The runs of one place: a Ray cluster with a Jobs API, or a Kubernetes cluster."""

    target: str
    log_seconds: float
    """How long to wait between two looks at growing logs."""

    def place(self, job: AstroJob, namespace: str | None, folder: Path) -> AstroJob:
        """The job in the namespace that was asked for, else its file's, else the place's own.

        Args:
            job: The job.
            namespace: Asked for on the command line.
            folder: The run file's, which local paths in it started from.
        """

    def check(self, job: AstroJob, stages: Sequence[Stage]) -> list[str]:
        """Warnings about a job; refuses one that cannot run there, before anything is written."""

    def plan(self, job: AstroJob, stages: Sequence[Stage]) -> Plan:
        """What :meth:`submit` would do; changes nothing."""

    def submit(
        self, job: AstroJob, stages: Sequence[Stage], *, only: bool = False
    ) -> tuple[Record, list[str]]:
        """Start a run; ``only`` runs one stage, if need be in a run that is there already."""

    def unfinished(self, record: Record) -> list[str]:
        """Those of the record's stages that are still to be done."""

    def resume(self, record: Record, job: AstroJob | None = None) -> tuple[Record, list[str]]:
        """Go on with a run, with the record's stages; with another spec if one is given."""

    def glance(self, record: Record) -> View:
        """What a run is doing, as far as that can be told at once, for lists."""

    def view(self, record: Record) -> View:
        """What a run is doing now."""

    def states(self, record: Record) -> Iterator[View]:
        """What a run is doing, again and again; the last one is of a run that is over."""

    def job(self, record: Record) -> AstroJob:
        """The run's job."""

    def directory(self, record: Record) -> RunDirectory:
        """The run's directory, readable from here."""

    def logs(self, record: Record, stage: str | None, rank: int | None) -> Logs:
        """A run's logs: the driver's, or a stage's or rank's files."""

    def stop(self, record: Record, timeout: float | None, *, checkpoint: bool) -> View:
        """End a run and wait for that; what it has done stays."""

    def delete(self, record: Record, *, purge: bool) -> str:
        """Remove a run; tells what went and what stays."""
