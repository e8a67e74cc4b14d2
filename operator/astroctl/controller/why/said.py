"""The scheduler's own account of why it does not place a pod, taken apart."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NODES = re.compile(r"^0/(\d+) nodes are available: (.*?)\.(?:\s|$)", re.DOTALL)
_PART = re.compile(r"^(\d+) (.+)$")
_TAINT = re.compile(r"\{([^:}]+):?\s*([^}]*)\}")
_INSUFFICIENT = re.compile(r"^Insufficient (\S+)$")


@dataclass(frozen=True)
class Said:
    """What the scheduler says.

    Attributes:
        total: Nodes looked at; None if it says nothing of nodes.
        tainted: Nodes with a taint that is not tolerated.
        taints: Those taints, as ``key=value``; newer versions do not name them.
        unselected: Nodes without the labels asked for.
        closed: Cordoned nodes.
        insufficient: Nodes short of a resource, by resource.
        others: Other causes, as they were written.
        text: All of it.
    """

    total: int | None
    tainted: int
    taints: tuple[str, ...]
    unselected: int
    closed: int
    insufficient: dict[str, int]
    others: tuple[str, ...]
    text: str

    @property
    def gang(self) -> bool:
        """Whether a gang scheduler waits for room for all pods."""
        return self.total is None and bool(
            re.search(r"pod ?group|gang|minAvailable|minMember", self.text, re.IGNORECASE)
        )


def read(message: str) -> Said:
    """Take a FailedScheduling message apart; versions from 1.20 to now differ in wording."""
    text = " ".join(message.split())
    if text.startswith("no nodes available to schedule pods"):
        return Said(0, 0, (), 0, 0, {}, (), text)
    head = _NODES.match(text + " ")
    if head is None:
        return Said(None, 0, (), 0, 0, {}, (text,) if text else (), text)
    tainted, taints, unselected, closed = 0, [], 0, 0
    insufficient: dict[str, int] = {}
    others = []
    for part in re.split(r", (?=\d+ )", head.group(2)):
        hit = _PART.match(part)
        if hit is None:
            others.append(part)
            continue
        count, what = int(hit.group(1)), hit.group(2)
        if " taint" in what:
            tainted += count
            taints += [f"{k}={v.strip()}" if v.strip() else k for k, v in _TAINT.findall(what)]
        elif "node affinity/selector" in what or "match node selector" in what:
            unselected += count
        elif "were unschedulable" in what:
            closed += count
        elif short := _INSUFFICIENT.match(what):
            insufficient[short.group(1)] = insufficient.get(short.group(1), 0) + count
        else:
            others.append(part)
    return Said(
        int(head.group(1)),
        tainted,
        tuple(taints),
        unselected,
        closed,
        insufficient,
        tuple(others),
        text,
    )
