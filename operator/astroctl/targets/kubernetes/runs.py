"""Runs on Kubernetes: the AstroJob's status tells of them, the operator does the work."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from astroctl.kube.client import Object
from astroctl.kube.errors import Missing, NoSuchKind
from astroctl.kube.plain import plain
from astroctl.kube.resources import ASTROJOB
from astroctl.kube.watch import watch
from astroctl.render.storage import claim_and_path
from astroctl.runs import registry
from astroctl.runs.base import Logs, Plan
from astroctl.runs.changes import kept
from astroctl.runs.logs import stage_logs
from astroctl.runs.registry import Record
from astroctl.runs.state import RUNS_STILL, View, assess
from astroctl.targets.base import GONE, JobState
from astroctl.targets.kubernetes import precheck, stopping, submission
from astroctl.targets.kubernetes.account import account
from astroctl.targets.kubernetes.logs import DriverLogs, events_of
from astroctl.targets.kubernetes.manifests import stages_annotation
from astroctl.targets.kubernetes.rendering import placed
from astroctl.targets.kubernetes.target import KubernetesTarget, without_kind
from astrosage.errors import AstroError, ClusterError, Interrupted, NotFoundError
from astrosage.runs.directory import RunDirectory
from astrosage.runs.fork import ANNOTATION
from astrosage.spec.job import AstroJob
from astrosage.spec.load import parse
from astrosage.spec.stages import Stage

_DELETE_SECONDS = 120.0
_SHOWN_EVENTS = 6
# Longer than an API server needs to come back; a person may log in again meanwhile.
_PATIENCE_SECONDS = 600.0
_DONE = ("finished", "skipped")


class KubernetesRuns:
    """The runs of one cluster.

    Args:
        target: Which cluster and namespace.
    """

    log_seconds = 2.0

    def __init__(self, target: KubernetesTarget) -> None:
        self._target = target
        self.target = target.name
        self._stack: contextlib.ExitStack | None = None
        self._directories: dict[str, RunDirectory] = {}

    def place(self, job: AstroJob, namespace: str | None, folder: Path) -> AstroJob:
        """The job in a namespace of the cluster; storage left at the default is the cluster's."""
        return placed(job, namespace, self._target, folder)

    def check(self, job: AstroJob, stages: Sequence[Stage]) -> list[str]:
        """Preflight, here and against the cluster."""
        warnings = submission.checked(self._target, job, stages)[2]
        return [*warnings, *precheck.operator_warnings(self._target.kube)]

    def plan(self, job: AstroJob, stages: Sequence[Stage]) -> Plan:
        """What a submit would do, tried on the API server as far as nothing is changed by it."""
        job, made, warnings = submission.checked(self._target, job, stages)
        warnings += precheck.operator_warnings(self._target.kube)
        there = self._find(job)
        if there is None:
            warnings += precheck.try_out(self._target.kube, job, made)
        job, uploads = submission.brought(self._target, job, dry_run=True)
        notes, data = submission.upload_notes(uploads)
        chosen, taken = {s.name for s in stages}, self._taken_over(job)
        finished = _finished(there or {})
        states = [
            {
                "name": s.name,
                "kind": s.kind,
                "state": "finished"
                if s.name in finished
                else "leave out"
                if s.name not in chosen
                else "take over"
                if s.name in taken
                else "run",
            }
            for s in job.spec.stages
        ]
        rayjobs = [m["metadata"]["name"] for m in made.rayjobs]
        data |= {"context": self._target.kube.context, "rayJobs": rayjobs}
        notes.append(f"RayJobs: {', '.join(rayjobs)}")
        uri = f"{job.spec.storage.rstrip('/')}/{job.key}"
        return Plan(job, uri, there is not None, states, warnings, notes, data)

    def submit(
        self, job: AstroJob, stages: Sequence[Stage], *, only: bool = False
    ) -> tuple[Record, list[str]]:
        """Create the AstroJob; ``only`` goes on with one that is there."""
        there = self._find(job) if only else None
        if there is not None:
            record = dataclasses.replace(
                self._target.record(there), stages=[s.name for s in stages]
            )
            return self.resume(record)
        obj, warnings = submission.create(self._target, job, stages)
        return self._noted(obj), warnings

    def _taken_over(self, job: AstroJob) -> list[str]:
        """Stages that a fork need not run, by the status of the AstroJob that it is of."""
        key = job.metadata.annotations.get(ANNOTATION)
        if key is None:
            return []
        namespace, _, name = key.rpartition("/")
        there = self._target.kube.find(ASTROJOB, name, namespace or job.metadata.namespace)
        if there is None:
            raise NotFoundError(
                f"--fork: there is no AstroJob `{key}`",
                "the run file names the job to begin from (metadata.name), --fork the new one",
            )
        return kept(job_of(there), job, _finished(there))

    def unfinished(self, record: Record) -> list[str]:
        """Stages that the status does not have as finished."""
        finished = _finished(self._target.get(record))
        return [n for n in record.stages if n not in finished]

    def resume(self, record: Record, job: AstroJob | None = None) -> tuple[Record, list[str]]:
        """Let the job run again, from its last checkpoint."""
        obj = self._target.get(record)
        spec = None
        if job is not None:
            job = submission.replaced(self._target, obj, job)
            spec = job.to_yaml_dict()["spec"]
        chosen = stages_annotation(job or self.job(record), record.stages)
        obj = stopping.go_on(self._target.kube, record, chosen, spec)
        return self._noted(obj), list(precheck.operator_warnings(self._target.kube))

    def glance(self, record: Record) -> View:
        """What the object says; NotFoundError where it is gone."""
        try:
            return account(self._target.record(obj := self._target.get(record)), obj)
        except NoSuchKind as error:
            raise without_kind(error) from None

    def view(self, record: Record) -> View:
        """The object's status; the run directory's account where the object is gone."""
        try:
            obj = self._target.get(record)
        except Missing:
            return self._from_directory(record)
        except NoSuchKind as error:
            raise without_kind(error) from None
        return self._account(obj)

    def states(self, record: Record) -> Iterator[View]:
        """A state for every change of the object, through whatever happens to the API server."""
        yield (first := self.view(record))
        if first.phase not in RUNS_STILL:
            return
        changes = watch(
            self._target.kube,
            ASTROJOB,
            record.namespace,
            fields=f"metadata.name={record.name}",
            patience=_PATIENCE_SECONDS,
            trouble=_tell,
        )
        for change, obj in changes:
            if change == "DELETED":
                raise Interrupted(
                    f"the AstroJob `{record.key}` was deleted",
                    f"what it did is in {record.uri}",
                )
            state = account(self._target.record(obj), obj)
            yield state
            if state.phase not in RUNS_STILL:
                return

    def job(self, record: Record) -> AstroJob:
        """The job, from the object, else from the run directory."""
        try:
            return job_of(self._target.get(record))
        except Missing:
            return self.directory(record).job()

    def directory(self, record: Record) -> RunDirectory:
        """The run directory; on a claim it is read through a pod, which goes when this process
        ends."""
        if record.uri not in self._directories:
            self._directories[record.uri] = self._opened(record)
        return self._directories[record.uri]

    def logs(self, record: Record, stage: str | None, rank: int | None) -> Logs:
        """The drivers' output, over all attempts; or the run directory's files."""

        def stored() -> dict[str, str]:
            return stage_logs(record, self.directory(record), stage, rank)

        if stage is not None or rank is not None:
            return stored
        source = DriverLogs(self._target.kube, record, stored, _say)
        self._closing().callback(source.close)
        return source

    def stop(self, record: Record, timeout: float | None, *, checkpoint: bool) -> View:
        """Suspend the job and wait until it rests."""
        seconds = timeout or stopping.STOP_SECONDS
        obj = stopping.suspend(
            self._target.kube,
            record,
            seconds,
            checkpoint=checkpoint,
            waiting=lambda: self._warn_alone("the job goes on until one does"),
        )
        return self._account(obj)

    def delete(self, record: Record, *, purge: bool) -> str:
        """Remove the object and wait until the operator has stopped what it runs."""
        kube = self._target.kube
        there = kube.delete(ASTROJOB, record.name, record.namespace)
        if there:
            self._warn_alone("the job stays until one does")
        if there and not stopping.until_gone(kube, record, _DELETE_SECONDS):
            raise ClusterError(
                f"the AstroJob `{record.key}` is being deleted, but is still there after "
                f"{_DELETE_SECONDS:.0f} s",
                "the operator stops its Ray cluster first: does it run? `astroctl doctor --target "
                "kubernetes`",
            )
        said = f"removed AstroJob {record.key}" if there else f"AstroJob {record.key} was gone"
        if purge:
            self.directory(record).delete()
            said += f" and {record.uri}"
        else:
            said += f"; its run directory stays: {record.uri} (--purge removes it)"
        registry.remove(record.place)
        return said

    def _warn_alone(self, outcome: str) -> None:
        for warning in precheck.operator_warnings(self._target.kube, outcome):
            _say(warning)

    def _find(self, job: AstroJob) -> Object | None:
        try:
            return self._target.kube.find(ASTROJOB, job.metadata.name, job.metadata.namespace)
        except NoSuchKind as error:
            raise without_kind(error) from None

    def _noted(self, obj: Object) -> Record:
        record = self._target.record(obj)
        record = dataclasses.replace(
            record,
            submission_id=record.submission_id or f"AstroJob {record.key}",
            submitted=registry.now(),
        )
        registry.put(record)
        return record

    def _account(self, obj: Object) -> View:
        record = self._target.record(obj)
        newest = [r for r in (obj.get("status") or {}).get("rayJobs") or [] if r.get("name")][-1:]
        names = [record.name, *(r["name"] for r in newest)]
        names += [r["cluster"] for r in newest if r.get("cluster")]
        events = events_of(self._target.kube, record.namespace, names)
        return account(record, obj, events[-_SHOWN_EVENTS:])

    def _from_directory(self, record: Record) -> View:
        """What the run directory tells when the object is gone."""
        directory = self.directory(record)
        progress = directory.progress()
        if not progress and not directory.exists():
            raise NotFoundError(
                f"neither the AstroJob `{record.key}` nor a run directory {record.uri} is there",
                f"`astroctl delete {record.called}` forgets the run",
            )
        gone = JobState(GONE, "its AstroJob was deleted")
        known = dataclasses.replace(record, attempt=int(progress.get("attempt") or 0))
        state = assess(known, progress, gone, 0.0)
        return dataclasses.replace(state, hint="")

    def _opened(self, record: Record) -> RunDirectory:
        if not record.uri.startswith("pvc://"):
            return RunDirectory(record.uri)
        from astroctl.kube.files import ClaimFiles

        claim, path = claim_and_path(record.uri)
        files = ClaimFiles(self._target.kube, record.namespace, claim, self._target.settings)
        opened = self._closing().enter_context(files)
        return RunDirectory(opened.storage(path))

    def _closing(self) -> contextlib.ExitStack:
        if self._stack is None:
            self._stack = contextlib.ExitStack()
            atexit.register(self._stack.close)
        return self._stack


def job_of(obj: Object) -> AstroJob:
    """The job that an object is, checked."""
    return parse(plain(obj), source=f"AstroJob {obj['metadata']['name']}")


def _finished(obj: Object) -> set[str]:
    stages = (obj.get("status") or {}).get("stages") or []
    return {s["name"] for s in stages if s.get("phase") in _DONE}


def _tell(error: AstroError) -> None:
    _say(f"{error.message}; trying again")


def _say(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr, flush=True)
