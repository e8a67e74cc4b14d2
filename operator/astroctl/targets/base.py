"""What is given to a Ray cluster to run, and what it tells of it."""

from __future__ import annotations

from dataclasses import dataclass, field

GONE = "GONE"
UNKNOWN = "UNKNOWN"
ACTIVE = ("PENDING", "RUNNING")


@dataclass(frozen=True)
class Submission:
    """One attempt at a run.

    Attributes:
        id: Ray's submission id, ``<namespace>-<name>-<attempt>``.
        run_uri: The run directory.
        stages: Names of the stages to run, in order.
        attempt: From 1.
        metadata: Shown next to the job in Ray.
        environment: Environment variables for the driver and all that it starts.
    """

    id: str
    run_uri: str
    stages: list[str]
    attempt: int
    metadata: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class JobState:
    """What the target knows of a submission.

    Attributes:
        status: Ray's PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED; ``GONE`` if the cluster does
            not run or does not know the job, ``UNKNOWN`` if it cannot be asked.
        message: Why, in words.
    """

    status: str
    message: str = ""
