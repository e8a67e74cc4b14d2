"""The status of an AstroJob, from one look to the next."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from astroctl.controller import conditions
from astroctl.controller.accept import Accepted, Refusal
from astroctl.controller.attempts import Attempt
from astroctl.controller.decide import Step
from astroctl.controller.pending import Ending, Finding
from astroctl.kube.merging import merge_patch
from astroctl.kube.times import seconds, timestamp
from astroctl.render.settings import Settings
from astroctl.render.storage import storage_of

__all__ = ["Draft", "seconds"]
_ENDS = ("Succeeded", "Failed", "Stopped")
_LIVE = (
    *("stage", "step", "total", "unit", "tokens", "loss", "tokensPerSecond", "mfu"),
    *("etaSeconds", "checkpoint"),
)


class Draft:
    """A status while it is worked on.

    Args:
        status: As it was.
        generation: Of the object looked at.
        now: Seconds since the epoch.
    """

    def __init__(self, status: dict[str, Any], generation: int | None, now: float) -> None:
        self._before, self._status = status, copy.deepcopy(status)
        self.generation, self._now = generation, now
        self._error: dict[str, Any] | None = None

    # -- reading -------------------------------------------------------------------------------

    def get(self, name: str) -> Any:
        """A field."""
        return self._status.get(name)

    @property
    def phase(self) -> str:
        """The phase before or after this look's changes."""
        return str(self._status.get("phase") or "")

    @property
    def retry_at(self) -> float:
        """When the next attempt starts, in seconds since the epoch; 0 if none is waited for."""
        return seconds(self._status.get("retryAt"))

    @property
    def completed(self) -> float:
        """When it ended, in seconds since the epoch; 0 if it has not."""
        return seconds(self._status.get("completionTime"))

    def record(self, group: int, stages: Sequence[str], content: str) -> dict[str, Any]:
        """Fields of the decision's record of a group.

        What it did for other stages, or for the same ones when they were told otherwise, does not
        count; the numbers of its attempts do.
        """
        entries = self._status.get("rayJobs") or []
        if group >= len(entries):
            return {"attempt": 0, "state": "", "content": content}
        entry = entries[group]
        same = entry.get("stages") == list(stages) and entry.get("content") == content
        # An attempt that runs or has failed is dealt with under whatever spec it was started.
        keeps = same or entry.get("state") in ("Active", "Failed", "Stopped")
        state = entry["state"] if keeps else ""
        return {"attempt": entry.get("attempt", 0), "state": state, "content": content}

    def counted(self, step: Step) -> bool:
        """Whether a failed attempt has been dealt with already."""
        entries = self._status.get("rayJobs") or []
        if step.group >= len(entries):
            return False
        entry = entries[step.group]
        return bool(entry["attempt"] == step.number and entry.get("state") == "Failed")

    def driver_error(self, one: Attempt) -> dict[str, Any] | None:
        """The error that the attempt's driver told of in this look."""
        return self._error

    def quiet_for(self) -> float:
        """Seconds since the driver's last sign of life; 0 if it never gave one."""
        beat = seconds((self._status.get("progress") or {}).get("heartbeat"))
        return self._now - beat if beat else 0.0

    def patch(self) -> dict[str, Any]:
        """A merge patch from the status as it was; empty if nothing changed."""
        self._status["observedGeneration"] = self.generation
        return merge_patch(self._before, self._status)

    # -- writing -------------------------------------------------------------------------------

    def accepted(self, settings: Settings, accepted: Accepted) -> None:
        """The job can run."""
        self._put("Accepted", True, "Accepted", "the job can run")
        storage = storage_of(accepted.job, settings).rstrip("/")
        self._status["runDirectory"] = f"{storage}/{accepted.job.key}"
        self._status.setdefault("failures", 0)
        known = {s["name"]: s for s in self._status.get("stages") or []}
        self._status["stages"] = [
            known.get(name)
            or {"name": name, "kind": accepted.job.stage(name).kind, "phase": "pending"}
            for name in accepted.stages
        ]
        if not self.phase:
            self._phase("Pending", "Accepted", "")

    def refused(self, refusal: Refusal) -> None:
        """The job cannot run as it is."""
        if refusal.passes:
            self._put("Accepted", True, "Accepted", "the job can run")
            self.waiting(refusal.reason, refusal.text)
            return
        self._put("Accepted", False, refusal.reason, refusal.text)
        self._phase("Pending", refusal.reason, refusal.text)

    def applied(self) -> None:
        """What runs is what the spec says."""
        if conditions.find(self._conditions, "SpecApplied"):
            self._put("SpecApplied", True, "Applied", "")

    def not_applied(self, reason: str, message: str) -> None:
        """What runs is not what the spec says."""
        self._put("SpecApplied", False, reason, message)

    def awaiting(self, accepted: Accepted, step: Step) -> None:
        """An attempt is about to be created."""
        self._enter(accepted, step.group, step.number, "Active", None)
        self._reopen()
        self._put("Running", False, "Starting", "the Ray cluster is being made")
        self._put("CapacityReady", False, "Starting", "the Ray cluster is being made")
        self._status["retryAt"] = None
        self._phase("Pending", "Starting", "the Ray cluster is being made")
        self._status.setdefault("startTime", timestamp(self._now))

    def start_over(self, asked: str | None) -> None:
        """A person asked for another try: old failures no longer count."""
        self._status["observedRetry"] = asked
        self._status["failures"] = 0

    def active(self, accepted: Accepted, one: Attempt) -> None:
        """An attempt is there and has not ended."""
        self._enter(accepted, one.group, one.number, "Active", one)
        self._reopen()
        self._status["retryAt"] = None

    def waiting(self, reason: str, message: str) -> None:
        """It waits for room."""
        self._put("CapacityReady", False, reason, message)
        if not self._holds("Running"):
            self._put("Running", False, reason, message)
            self._phase("Pending", reason, message)

    def capacity(self, finding: Finding) -> None:
        """Whether it has what it needs, and what it waits for if not."""
        if finding.ready:
            self._put("CapacityReady", True, finding.reason, finding.message)
        else:
            self.waiting(finding.reason, said(finding))

    def running(self, one: Attempt) -> None:
        """The driver runs."""
        quiet = self.quiet_for()
        stalled = quiet > 120
        reason = "NoHeartbeat" if stalled else "Running"
        text = f"no sign of life from the driver for {quiet:.0f} s" if stalled else ""
        self._put("Running", True, reason, text or f"RayJob {one.name} runs")
        self._phase("Running", reason, text)

    def suspending(self) -> float:
        """A stop has been asked for; returns since when, in seconds since the epoch."""
        text = "waiting for the driver to take a checkpoint and end"
        before = conditions.find(self._conditions, "Running")
        if before is None or before["reason"] != "Suspending":
            self._status["conditions"] = conditions.drop(self._conditions, "Running")
            self._put("Running", False, "Suspending", text)
            self._phase("Running", "Suspending", text)
        found = conditions.find(self._conditions, "Running")
        return seconds(found["lastTransitionTime"]) if found else self._now

    def suspended(self, accepted: Accepted, last: Attempt | None) -> None:
        """It rests."""
        if last is not None and last.group < len(accepted.groups) and last.outcome != "succeeded":
            self._enter(accepted, last.group, last.number, "Stopped", last)
        text = "suspended; set spec.suspend to false to go on"
        self._put("Running", False, "Suspended", text)
        self._put("CapacityReady", False, "Suspended", text)
        self._status["retryAt"] = None
        self._phase("Suspended", "Suspended", text)

    def count_failure(self, accepted: Accepted, one: Attempt) -> int:
        """Note a failed attempt; returns how many there are now."""
        self._enter(accepted, one.group, one.number, "Failed", one)
        failures = int(self._status.get("failures") or 0) + 1
        self._status["failures"] = failures
        return failures

    def retrying(self, cause: Ending, failures: int, allowed: int, pause: float) -> None:
        """It will be tried again."""
        text = f"failure {failures} of {allowed} allowed: {said(cause)}"
        self._status["retryAt"] = timestamp(self._now + pause)
        self._put("Running", False, "Retrying", text)
        self._put("CapacityReady", False, "Retrying", text)
        self._phase("Pending", "Retrying", text)

    def failed(self, cause: Ending, failures: int, allowed: int) -> None:
        """It has failed for good."""
        why = "trying again cannot help" if not cause.retryable else f"{failures} failures"
        text = f"{said(cause)} ({why})" if cause.retryable else said(cause)
        self._status["retryAt"] = None
        self._status["error"] = {
            "type": cause.family,
            "message": cause.message,
            "hint": cause.hint,
            "retryable": cause.retryable,
        }
        self._end("Failed", cause.reason, text)

    def succeeded(self, accepted: Accepted, attempts: Sequence[Attempt]) -> None:
        """All groups are done."""
        for one in sorted(attempts, key=lambda a: a.number):
            if one.outcome == "succeeded" and one.group < len(accepted.groups):
                self._enter(accepted, one.group, one.number, "Succeeded", one)
        for stage in self._status.get("stages") or []:
            if stage["phase"] in ("pending", "running"):
                stage["phase"] = "finished"
        self._status["error"] = None
        self._end("Succeeded", "Succeeded", "all stages are finished")

    def stopped(self, accepted: Accepted, one: Attempt) -> None:
        """Someone stopped the Ray job itself."""
        self._enter(accepted, one.group, one.number, "Stopped", one)
        self._end("Stopped", "Stopped", "the Ray job was stopped; `astroctl resume` goes on")

    def progress(self, told: dict[str, Any]) -> None:
        """The driver's account of itself."""
        live = {name: told[name] for name in _LIVE if told.get(name) is not None}
        if told.get("heartbeat"):
            live["heartbeat"] = timestamp(float(told["heartbeat"]))
        self._status["progress"] = live or None
        if told.get("checkpoint"):
            self._status["lastCheckpoint"] = f"{told.get('stage')}/{told['checkpoint']}"
        if told.get("costUSD") is not None:
            self._status["costUSD"] = told["costUSD"]
        by_name = {s["name"]: s for s in told.get("stages") or []}
        for i, stage in enumerate(self._status.get("stages") or []):
            if stage["name"] in by_name:
                new = by_name[stage["name"]]
                kept = {k: new[k] for k in ("name", "kind", "phase", "seconds") if new.get(k)}
                self._status["stages"][i] = {**stage, **kept}
        self._error = told.get("error") if told.get("phase") == "failed" else None

    # -- parts ---------------------------------------------------------------------------------

    @property
    def _conditions(self) -> list[dict[str, Any]]:
        return self._status.get("conditions") or []

    def _holds(self, kind: str) -> bool:
        found = conditions.find(self._conditions, kind)
        return found is not None and found["status"] == "True"

    def _put(self, kind: str, holds: bool | None, reason: str, message: str) -> None:
        self._status["conditions"] = conditions.put(
            self._conditions,
            kind,
            holds,
            reason,
            message,
            generation=self.generation,
            now=self._now,
        )

    def _phase(self, phase: str, reason: str, message: str) -> None:
        self._status |= {"phase": phase, "reason": reason, "message": message}

    def _reopen(self) -> None:
        """It goes on after an end."""
        self._status["conditions"] = conditions.drop(self._conditions, *_ENDS)
        self._status["completionTime"] = None
        self._status["error"] = None

    def _end(self, kind: str, reason: str, message: str) -> None:
        rest = [k for k in _ENDS if k != kind]
        self._status["conditions"] = conditions.drop(self._conditions, *rest)
        self._put("Running", False, reason, message)
        self._put(kind, True, reason, message)
        self._phase(kind, reason, message)
        self._status["completionTime"] = timestamp(self._now)

    def _enter(
        self, accepted: Accepted, group: int, number: int, state: str, one: Attempt | None
    ) -> None:
        """Write down an attempt of a group, and that the groups before it are done."""
        entries = list(self._status.get("rayJobs") or [])[: len(accepted.groups)]
        for index, each in enumerate(accepted.groups):
            if index >= len(entries):
                entries.append({"name": "", "stages": list(each.stages), "attempt": 0, "state": ""})
        for index in range(group):
            entries[index] = {
                **entries[index],
                "stages": list(accepted.groups[index].stages),
                "content": accepted.contents[index],
                "state": "Succeeded",
            }
        entries[group] = {
            "name": one.name if one else f"{accepted.job.metadata.name}-{group}-{number}",
            "stages": list(accepted.groups[group].stages),
            "attempt": number,
            "state": state,
            "content": accepted.contents[group],
            **({"cluster": one.cluster} if one and one.cluster else {}),
        }
        self._status["rayJobs"] = entries


def said(found: Ending | Finding) -> str:
    """Message and hint as one."""
    return f"{found.message}; {found.hint}" if found.hint else found.message
