"""What is done to a training in the tests, and what must come of it; also the page about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/faults.md"
_HEADER = """# Faults and what comes of them

Made by the fault suite (`ASTRO_WRITE_FAULTS=1 pytest tests/e2e/test_faults.py` writes it anew);
do not edit. Each line is a test: two workers train a small model with ZeRO-3 on a real Ray cluster,
the fault happens for real (signals, truncated files, full and read-only disks), and the run goes
on. *The same end* means: every step recorded once, with the same losses, and exported weights that
are equal to the bit to those of a run that nothing disturbed.

Not covered, since it cannot be made here: a GPU that falls off the bus, a NCCL hang inside a
kernel, a node that loses its network.
"""


@dataclass(frozen=True)
class Fault:
    """A line of the table.

    Attributes:
        name: The test's.
        done: What is done to the run.
        outcome: What must come of it.
    """

    name: str
    done: str
    outcome: str


FAULTS = [
    Fault(
        "forward",
        "`kill -9` of a rank in its forward pass",
        "workers are restarted from the last checkpoint in the same attempt; the same end",
    ),
    Fault("backward", "`kill -9` of a rank in its backward pass", "as above; the same end"),
    Fault(
        "checkpoint",
        "`kill -9` of a rank that has written half of its checkpoint",
        "the half is never taken for a checkpoint and removed; the one before is used; the same "
        "end",
    ),
    Fault(
        "hang",
        "a rank is stopped (SIGSTOP), so that the others wait for it",
        "after `watchdog.hangSeconds` the stacks of the waiting ranks are in their logs, the "
        "workers are restarted; the same end",
    ),
    Fault(
        "controller",
        "`kill -9` of Ray Train's controller, of its cleaner and of all ranks, as when memory "
        "runs out",
        "the resources that they held are given back, the workers are restarted in the same "
        "attempt; the same end",
    ),
    Fault("driver", "`kill -9` of the driver", "the next attempt goes on; the same end"),
    Fault("head", "`kill -9` of the whole Ray cluster", "the next attempt goes on; the same end"),
    Fault(
        "sigterm",
        "SIGTERM without time to react",
        "the run is *stopped*; the next attempt goes on from the last checkpoint; the same end",
    ),
    Fault(
        "sigterm-grace",
        "SIGTERM with a grace period",
        "a checkpoint of the last step is taken, the run is *stopped*; the same end",
    ),
    Fault("stop", "`astroctl stop --checkpoint`", "as above; the same end"),
    Fault(
        "damaged",
        "the newest checkpoint's shard is cut short, the manifest of the one before is deleted",
        "both are recognised, named in the log and removed; the third is used; the same end",
    ),
    Fault(
        "full-disk",
        "the disk fills up while a checkpoint is written",
        "the run fails at once and says what is full; nothing half-written is left; with space "
        "again, the next attempt comes to the same end",
    ),
    Fault(
        "read-only",
        "the storage becomes read-only",
        "the run fails at once and says so; writable again, the next attempt comes to the same end",
    ),
    Fault(
        "nan-stop",
        "a batch gives NaN (`watchdog.badLoss: stop`)",
        "the run fails with the step, the documents and the last good checkpoint; once the cause "
        "is gone, the next attempt comes to the same end",
    ),
    Fault(
        "nan-skip",
        "a batch gives NaN whenever it is seen (`watchdog.badLoss: skip`)",
        "training goes back to the last good checkpoint and leaves the batch out; the same end as "
        "a run without that batch",
    ),
    Fault(
        "world-size",
        "killed with 2 workers, gone on with 1, killed, gone on with 2",
        "ZeRO-3 checkpoints are read by the other number of workers; every step once, on the same "
        "data, with losses within 0.5 % of the undisturbed run's",
    ),
]


def page() -> str:
    """The page in Markdown."""
    lines = [_HEADER, "| what is done | what comes of it |", "|---|---|"]
    lines += [f"| {f.done} | {f.outcome} |" for f in FAULTS]
    return "\n".join(lines) + "\n"
