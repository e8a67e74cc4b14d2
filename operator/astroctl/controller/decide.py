"""What to do next for a job: a pure function of what is wanted and what is there.

Nothing here remembers anything. Names of attempts follow from what exists and what the status
says, so an operator that dies between any two calls, or two that run at once, come to the same
step and not to a second one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from astroctl.controller.attempts import Attempt

LONGEST_BACKOFF = 1800.0
Action = Literal["create", "watch", "stop", "remove", "fail", "wait", "rest", "succeed", "stopped"]


@dataclass(frozen=True)
class Record:
    """What the job's status says of one group.

    Attributes:
        attempt: Its newest attempt.
        state: Active, Succeeded, Failed or Stopped.
        content: Hash of what it and those before it shall make now.
    """

    attempt: int = 0
    state: str = ""
    content: str = ""


@dataclass(frozen=True)
class Situation:
    """All that a decision depends on.

    Attributes:
        records: What the status says, by group.
        attempts: RayJobs that are there.
        suspend: Whether the job shall rest.
        was_suspended: Whether it rests now.
        finished: Whether it has succeeded already.
        retry: Whether a person asked for another try.
        failures: Failed attempts so far, those in ``attempts`` that the status does not know left
            out.
        max_failures: How many are allowed.
        retry_at: Seconds since the epoch when the next attempt may start, as the status says.
        now: Seconds since the epoch.
    """

    records: Sequence[Record]
    attempts: Sequence[Attempt]
    suspend: bool = False
    was_suspended: bool = False
    finished: bool = False
    retry: bool = False
    failures: int = 0
    max_failures: int = 3
    retry_at: float = 0.0
    now: float = 0.0


@dataclass(frozen=True)
class Step:
    """What to do.

    Attributes:
        action: ``create`` an attempt, ``watch`` one that is active, ``stop`` one, ``remove`` one
            that should not be, ``fail`` (an attempt failed: classify it), ``wait`` until the
            back-off is over, ``rest`` (suspended), ``succeed``, ``stopped``.
        group: Of which group.
        number: Of which attempt.
        attempt: The RayJob it is about.
    """

    action: Action
    group: int = -1
    number: int = 0
    attempt: Attempt | None = None


def decide(situation: Situation) -> Step:
    """The next step."""
    active = sorted(
        (a for a in situation.attempts if a.outcome == "active"), key=lambda a: (a.group, a.number)
    )
    if situation.suspend:
        return _end(active[0], "stop") if active else Step("rest")
    if active:
        # One Ray cluster at a time; the newest is the one that is meant.
        return _end(active[0], "remove") if len(active) > 1 else _end(active[0], "watch")
    if situation.finished and not situation.retry:
        return Step("succeed")
    current = _current(situation)
    if current is None:
        return Step("succeed")
    return _go_on(situation, current)


def _go_on(situation: Situation, current: int) -> Step:
    """The next step for a group of which nothing runs."""
    record, newest = situation.records[current], _newest(situation, current)
    following = max(record.attempt, newest.number if newest else 0) + 1
    create = Step("create", current, following)
    if newest is None or newest.outcome == "succeeded":
        # What the status knew and is no longer there was removed by someone; what succeeded did
        # so with another spec.
        return create
    if newest.deleting:
        return _end(newest, "watch")
    if situation.retry or situation.was_suspended:
        return create
    if newest.outcome == "stopped":
        return _end(newest, "stopped")
    counted = record.attempt == newest.number and record.state == "Failed"
    if not counted or not situation.retry_at:
        return _end(newest, "fail")
    return create if situation.now >= situation.retry_at else _end(newest, "wait")


def _end(attempt: Attempt, action: Action) -> Step:
    return Step(action, attempt.group, attempt.number, attempt)


def _current(situation: Situation) -> int | None:
    """The first group that has not succeeded with what the spec says now."""
    for index, record in enumerate(situation.records):
        newest = _newest(situation, index)
        succeeded = newest is not None and newest.outcome == "succeeded"
        current = newest is not None and newest.content == record.content
        if not (succeeded and current) and record.state != "Succeeded":
            return index
    return None


def _newest(situation: Situation, group: int) -> Attempt | None:
    mine = [a for a in situation.attempts if a.group == group]
    return max(mine, key=lambda a: a.number, default=None)


def backoff(failures: int, first: float) -> float:
    """Seconds to wait after the n-th failure in a row."""
    return min(LONGEST_BACKOFF, first * 2.0 ** max(0, min(failures, 20) - 1))
