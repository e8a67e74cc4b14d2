"""Why attempts fail, and whether trying again can help."""

from __future__ import annotations

import pytest

from astroctl.controller.pending import FailureFacts, explain_failure
from astroctl.controller.why import reasons
from tests.astroctl.controller.made import condition, head, killed, pod, rayjob

LOST = {"type": "ClusterError", "message": "a worker died", "hint": "", "retryable": True}


def failed(reason: str, message: str = "", job: str = "FAILED", state: str = "Failed") -> dict:
    return rayjob(state, job, reason=reason, message=message)


def ended(reason: str, message: str, **more: object) -> dict:
    dead = pod(node="gpu-1", phase="Failed", **more)
    dead["status"] |= {"reason": reason, "message": message}
    return dead


def disrupted(reason: str, message: str) -> dict:
    dead = pod(node="gpu-1", phase="Failed")
    dead["status"]["conditions"] = [condition("DisruptionTarget", "True", reason, message)]
    return dead


CASES: list[tuple[str, bool, FailureFacts, str]] = [
    # (reason, retryable, facts, part of the message)
    (
        "DeadlineExceeded",
        False,
        FailureFacts(
            failed("DeadlineExceeded", "The RayJob has passed the activeDeadlineSeconds."),
            [head(phase="Failed", ready=False, states=[killed()])],
            LOST,
        ),
        "activeDeadlineSeconds",
    ),
    (
        "ValidationFailed",
        False,
        FailureFacts(rayjob("ValidationFailed", message="name length 48 exceeds 47")),
        "name length",
    ),
    (
        "PreRunningDeadlineExceeded",
        True,
        FailureFacts(failed("PreRunningDeadlineExceeded", "not Running within 3600 s")),
        "3600 s",
    ),
    (
        "HeadOutOfMemory",
        True,
        FailureFacts(
            failed("JobStatusCheckTimeoutExceeded", "dashboard unreachable for 300 s"),
            [head(phase="Failed", ready=False, states=[killed()]), pod(node="gpu-1", ready=True)],
        ),
        "head pod train-0-1-x7k2p-head was killed for memory (limit 256.0 GiB)",
    ),
    (
        "WorkerOutOfMemory",
        False,
        FailureFacts(
            failed("AppFailed"), [head(), pod(phase="Failed", node="g", states=[killed()])], LOST
        ),
        "worker pod",
    ),
    (
        "PodEvicted",
        True,
        FailureFacts(
            failed("AppFailed"),
            [
                head(),
                ended(
                    "Evicted",
                    "The node was low on resource: ephemeral-storage. Threshold quantity: 10Gi",
                ),
            ],
        ),
        "on node gpu-1 was ended: The node was low on resource: ephemeral-storage",
    ),
    (
        "PodPreempted",
        True,
        FailureFacts(
            failed("AppFailed"),
            [
                head(),
                disrupted(
                    "PreemptionByScheduler",
                    "default-scheduler: preempting to accommodate a higher priority pod",
                ),
            ],
        ),
        "higher priority pod",
    ),
    (
        "NodeLost",
        True,
        FailureFacts(
            failed("AppFailed"),
            [
                head(),
                ended("Terminated", "Pod was terminated in response to imminent node shutdown."),
            ],
            LOST,
        ),
        "imminent node shutdown",
    ),
    (
        "NodeLost",
        True,
        FailureFacts(failed("AppFailed"), [disrupted("DeletionByTaintManager", "node not-ready")]),
        "not-ready",
    ),
    (
        "DataError",
        False,
        FailureFacts(
            failed("AppFailed", "driver exited with code 6"),
            [head(), ended("Evicted", "low on memory")],
            {
                "type": "DataError",
                "message": "corpus.jsonl: line 3: no text",
                "hint": "mend it",
                "retryable": False,
            },
        ),
        "corpus.jsonl: line 3",
    ),
    (
        "ClusterError",
        True,
        FailureFacts(failed("AppFailed"), [head()], LOST),
        "a worker died",
    ),
    ("ClusterDeleted", True, FailureFacts(None), "somebody deleted it"),
    (
        "JobStatusCheckTimeoutExceeded",
        True,
        FailureFacts(failed("JobStatusCheckTimeoutExceeded", "no answer for 300 s"), [head()]),
        "no answer for 300 s",
    ),
    (
        "SubmissionFailed",
        True,
        FailureFacts(failed("SubmissionFailed", "connection refused", job="")),
        "connection refused",
    ),
    (
        "RuntimeEnvFailed",
        False,
        FailureFacts(failed("SubmissionFailed", "runtime_env setup failed: no such image", "")),
        "no such image",
    ),
    (
        "RuntimeEnvFailed",
        False,
        FailureFacts(failed("AppFailed", "Failed to set up runtime environment runtime_env: x")),
        "runtime environment failed",
    ),
    (
        "AppFailed",
        True,
        FailureFacts(failed("AppFailed", "Job entrypoint command failed with exit code 1")),
        "exit code 1",
    ),
    (
        "DriverLost",
        True,
        FailureFacts(failed("JobDeploymentStatusTransitionGracePeriodExceeded", "", job="RUNNING")),
        "without a last word (JobDeploymentStatusTransitionGracePeriodExceeded)",
    ),
]


@pytest.mark.parametrize(
    ("reason", "retryable", "facts", "part"),
    CASES,
    ids=[f"{i}-{c[0]}" for i, c in enumerate(CASES)],
)
def test_cause_is_told(reason: str, retryable: bool, facts: FailureFacts, part: str) -> None:
    found = explain_failure(facts)
    assert (found.reason, found.retryable, part in found.message) == (reason, retryable, True), (
        found.message
    )


def test_every_reason_of_failure_is_tried() -> None:
    assert {r.name for r in reasons.FAILED} - {c[0] for c in CASES} == set()


def test_no_secret_or_stack_of_an_unknown_error_becomes_a_reason() -> None:
    """Foreign exceptions have names of their own; a condition's reason must be one word."""
    error = {"type": "AstroError", "message": "RuntimeError: boom", "retryable": True}
    found = explain_failure(FailureFacts(failed("AppFailed"), [], error))
    assert found.reason == "AppFailed"
    assert found.message == "RuntimeError: boom"
