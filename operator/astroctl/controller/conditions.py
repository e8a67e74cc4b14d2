"""Conditions, as Kubernetes' conventions want them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from astroctl.kube.times import timestamp

Condition = dict[str, Any]


def find(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of a type."""
    return next((c for c in conditions if c["type"] == kind), None)


def put(
    conditions: list[Condition],
    kind: str,
    holds: bool | None,
    reason: str,
    message: str,
    *,
    generation: int | None,
    now: float,
) -> list[Condition]:
    """The conditions with one of them set; its time changes only when its status does.

    Args:
        conditions: What was there.
        kind: The condition's type.
        holds: Whether it holds; None is Unknown.
        reason: Why, in one word.
        message: Why, for people.
        generation: Of the object looked at.
        now: Seconds since the epoch.
    """
    before = find(conditions, kind)
    status = "Unknown" if holds is None else str(holds)
    same = before is not None and before["status"] == status
    made: Condition = {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": before["lastTransitionTime"] if before and same else timestamp(now),
    }
    if generation is not None:
        made["observedGeneration"] = generation
    if before is None:
        return [*conditions, made]
    return [made if c is before else c for c in conditions]


def drop(conditions: list[Condition], *kinds: str) -> list[Condition]:
    """The conditions without some."""
    return [c for c in conditions if c["type"] not in kinds]
