"""An AstroJob's status in the words that ``status`` and ``list`` use for every run."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Sequence
from typing import Any

from astroctl.kube.client import Object
from astroctl.render.settings import Settings
from astroctl.render.storage import DEFAULT_STORAGE
from astroctl.runs.registry import Record
from astroctl.runs.state import HEARTBEAT_SECONDS, View
from astroctl.targets.base import JobState
from astrosage.errors import FAMILIES, AstroError

RETRY, STAGES = (f"astrosage.io/{n}" for n in ("retry", "stages"))
# An operator that runs has looked at a new job long before.
UNSEEN_SECONDS = 15.0
_OVER = ("Succeeded", "Failed", "Stopped", "Suspended")
_MARKS = {"Active": "RUNNING", "Succeeded": "SUCCEEDED", "Failed": "FAILED", "Stopped": "STOPPED"}


def record_of(
    obj: Object, context: str, kubeconfig: str, settings: Callable[[], Settings]
) -> Record:
    """The record of an AstroJob.

    Args:
        obj: It.
        context: The kubeconfig's context.
        kubeconfig: The kubeconfig, if not the usual one.
        settings: Gives the installation's, should they be needed.
    """
    meta, status = obj["metadata"], obj.get("status") or {}
    spec = obj.get("spec") or {}
    chosen = (meta.get("annotations") or {}).get(STAGES)
    stages = [s["name"] for s in status.get("stages") or spec.get("stages") or []]
    if chosen:
        wanted = [n.strip() for n in chosen.split(",")]
        stages = [n for n in stages if n in wanted] or wanted
    newest = _newest(status)
    return Record(
        namespace=meta["namespace"],
        name=meta["name"],
        uri=status.get("runDirectory") or run_uri(spec, meta, settings),
        target="kubernetes",
        stages=stages,
        attempt=int((newest or {}).get("attempt") or 0),
        submission_id=str((newest or {}).get("name") or ""),
        submitted=seconds(meta.get("creationTimestamp")) or 0.0,
        context=context,
        kubeconfig=kubeconfig,
    )


def run_uri(spec: dict[str, Any], meta: dict[str, Any], settings: Callable[[], Settings]) -> str:
    """The run directory, as seen from outside pods."""
    storage = str(spec.get("storage") or DEFAULT_STORAGE)
    if storage == DEFAULT_STORAGE:
        storage = settings().storage or storage
    return f"{storage.rstrip('/')}/{meta['namespace']}/{meta['name']}"


def account(
    record: Record, obj: Object, events: Sequence[Object] = (), now: float | None = None
) -> View:
    """A run's state, from its object.

    Args:
        record: The run.
        obj: The AstroJob.
        events: Of it and its RayJobs.
        now: Seconds since the epoch.
    """
    now = time.time() if now is None else now
    status = obj.get("status") or {}
    unseen = _unseen(obj)
    phase = "Pending" if unseen else str(status.get("phase") or "Pending")
    progress = _progress(status, record)
    if phase == "Failed":
        progress["error"] = _error(status)
    note, hint = _remarks(record, obj, phase, progress, unseen, now)
    ray_jobs = status.get("rayJobs") or []
    newest = _newest(status)
    job = JobState(_MARKS.get(str((newest or {}).get("state")), "PENDING"))
    return View(
        record=record,
        phase=phase.lower(),
        progress=progress,
        job=job,
        note=note,
        hint=hint,
        conditions=list(status.get("conditions") or []),
        ray_jobs=[{"stages": [], "attempt": 1, "state": "", **r} for r in ray_jobs],
        events=[_event(e, now) for e in events],
    )


def condition(obj: Object, kind: str) -> dict[str, Any]:
    """A condition of the object's present generation; empty where there is none."""
    for found in (obj.get("status") or {}).get("conditions") or []:
        if found["type"] == kind:
            return dict(found)
    return {}


def seconds(text: str | None) -> float | None:
    """Seconds since the epoch of an RFC 3339 time."""
    if not text:
        return None
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _unseen(obj: Object) -> bool:
    """Whether what a person asked for last has not been looked at by the operator."""
    meta, status = obj["metadata"], obj.get("status") or {}
    if not status.get("phase"):
        return True
    if status["phase"] not in _OVER or (obj.get("spec") or {}).get("suspend"):
        return False
    annotations = meta.get("annotations") or {}
    newer = int(meta.get("generation") or 0) > int(status.get("observedGeneration") or 0)
    if status["phase"] == "Succeeded":
        chosen = {n.strip() for n in (annotations.get(STAGES) or "").split(",") if n.strip()}
        return newer or not chosen <= {s["name"] for s in status.get("stages") or []}
    retry = annotations.get(RETRY)
    return newer or (retry is not None and retry != status.get("observedRetry"))


def _newest(status: dict[str, Any]) -> dict[str, Any] | None:
    """The RayJob that runs, or ran last: groups run in order."""
    begun = [r for r in status.get("rayJobs") or [] if r.get("name")]
    return begun[-1] if begun else None


def _progress(status: dict[str, Any], record: Record) -> dict[str, Any]:
    """The status in the form of progress.json."""
    found = dict(status.get("progress") or {})
    heartbeat = found.pop("heartbeat", None)
    facts = {
        "stages": status.get("stages") or [],
        "attempt": record.attempt or None,
        "heartbeat": seconds(heartbeat) if isinstance(heartbeat, str) else heartbeat,
        "checkpoint": status.get("lastCheckpoint") or found.pop("checkpoint", None),
        "costUSD": status.get("costUSD"),
        "failures": status.get("failures") or None,
    }
    return found | {k: v for k, v in facts.items() if v is not None}


def _error(status: dict[str, Any]) -> dict[str, Any]:
    found = status.get("error")
    if not found:
        found = {
            "type": "ClusterError",
            "message": status.get("message") or status.get("reason") or "it failed",
            "hint": "",
        }
    family = FAMILIES.get(str(found.get("type")), AstroError)
    return {"exitCode": family.exit_code, **found}


def _remarks(
    record: Record,
    obj: Object,
    phase: str,
    progress: dict[str, Any],
    unseen: bool,
    now: float,
) -> tuple[str, str]:
    """What is odd or waited for, and what to do."""
    name = record.called
    if "deletionTimestamp" in obj["metadata"]:
        return "it is being deleted", ""
    accepted = condition(obj, "Accepted")
    if accepted.get("status") == "False":
        return str(
            accepted.get("message") or accepted.get("reason")
        ), f"astroctl resume {name} -f job.yaml"
    if unseen:
        return _unseen_remarks(obj, now)
    if phase == "Pending":
        waiting = condition(obj, "CapacityReady")
        message = str(waiting.get("message") or "") if waiting.get("status") != "True" else ""
        retry_at = seconds((obj.get("status") or {}).get("retryAt"))
        if retry_at and retry_at > now:
            return f"the next attempt starts in {retry_at - now:.0f} s", f"astroctl logs {name}"
        return message, f"astroctl logs {name}" if not message else ""
    if phase == "Running":
        beat = progress.get("heartbeat")
        age = now - float(beat) if beat else 0.0
        # The operator reads the heartbeat at intervals of its own.
        if age > 2 * HEARTBEAT_SECONDS:
            return f"no sign of life for {age:.0f} s", f"astroctl logs {name}"
        applied = condition(obj, "SpecApplied")
        if applied.get("status") == "False":
            return str(applied.get("message") or ""), ""
        return "", ""
    if phase == "Succeeded":
        return "", ""
    return "", f"astroctl resume {name}"


def _unseen_remarks(obj: Object, now: float) -> tuple[str, str]:
    since = seconds(obj["metadata"].get("creationTimestamp")) or now
    if now - since < UNSEEN_SECONDS:
        return "the operator has not looked at it yet", ""
    return (
        "no operator has looked at it",
        "does one run, and does it watch this namespace? `astroctl doctor --target kubernetes`",
    )


def _event(event: Object, now: float) -> dict[str, Any]:
    from astroctl.cli.output import duration

    at = seconds(event.get("lastTimestamp") or event.get("eventTime")) or now
    about = event.get("involvedObject") or {}
    return {
        "reason": event.get("reason") or "",
        "age": duration(max(0.0, now - at)),
        "object": f"{about.get('kind')}/{about.get('name')}",
        "message": str(event.get("message") or "").strip(),
    }
