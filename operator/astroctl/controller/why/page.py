"""``docs/conditions.md``, made from the table of reasons.

``python -m astroctl.controller.why.page --write`` writes it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from astroctl.controller.why.reasons import FAILED, IDLE, WAITING, Reason

_HEAD = """\
# Conditions and their reasons

Generated from the operator's table of reasons by `make docs`.

`astroctl status NAME` and `kubectl describe astrojob NAME` show conditions. Each has a status, a
reason (one word, for machines and alerts) and a message (for people, with what to do).

| condition | says |
|---|---|
| `Accepted` | the job can run as it is written; `False` names the field |
| `CapacityReady` | its Ray cluster is there; `False` says what it waits for, by the table below |
| `Running` | the driver runs; `False` says why not |
| `SpecApplied` | what runs is what the object says; `False` when it was changed meanwhile |
| `Succeeded`, `Failed`, `Stopped` | how it ended; at most one of them is there |
"""

_WAITING = """\
## Why it waits

Reasons are looked for in the order of this table, and the first that applies is told: what must be
mended before anything else can pass stands first, what passes by itself last. The head pod comes
before worker pods, since nothing starts without it. "Passes" means that waiting can be enough.
"""

_FAILED = """\
## Why it failed

An attempt that a rule ended (deadline, validation) failed for that. Otherwise the driver's own
error is told, whose family then is the reason (`DataError`, `TrainingError`, …, see
[errors](errors.md)), unless the end of a pod explains it better. "Again" means that the operator
tries again by itself, within `retry.maxFailures`, from the last checkpoint.
"""

_IDLE = """\
## GPUs that do nothing

Told as events of the job while it holds GPUs that do no work.
"""


def page() -> str:
    """The page."""
    parts = [
        _HEAD,
        _WAITING,
        _table(WAITING, "passes"),
        _FAILED,
        _table(FAILED, "again"),
        _IDLE,
        _table(IDLE, "passes"),
    ]
    return "\n".join(parts)


def _table(reasons: Sequence[Reason], column: str) -> str:
    lines = [f"| reason | meaning | {column} | what helps |", "|---|---|---|---|"]
    for reason in reasons:
        cells = (
            f"`{reason.name}`",
            reason.meaning,
            "yes" if reason.passes else "no",
            reason.helps or "-",
        )
        lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the page, or write it."""
    if "--write" in sys.argv[1:]:
        Path("docs/conditions.md").write_text(page())
    else:
        print(page())


if __name__ == "__main__":
    main()
