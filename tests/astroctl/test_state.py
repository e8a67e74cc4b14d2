from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astroctl.runs.registry import Record
from astroctl.runs.state import FINAL, assess
from astroctl.targets.base import GONE, UNKNOWN, JobState

RECORD = Record("default", "r", "/r", "local", stages=["a"], attempt=2, submission_id="default-r-2")
NOW = 1_000_000.0


def progress(phase: str = "running", age: float = 1.0, attempt: int = 2) -> dict[str, Any]:
    return {"phase": phase, "heartbeat": NOW - age, "attempt": attempt, "stages": []}


@pytest.mark.parametrize(
    ("written", "job", "phase"),
    [
        (progress(), "RUNNING", "running"),
        (progress("pending"), "PENDING", "pending"),
        (progress("succeeded"), "SUCCEEDED", "succeeded"),
        (progress("succeeded"), GONE, "succeeded"),
        (progress("failed"), "FAILED", "failed"),
        (progress("stopped"), "STOPPED", "stopped"),
        (progress(), "FAILED", "interrupted"),
        (progress(), "SUCCEEDED", "interrupted"),
        (progress(), "STOPPED", "stopped"),
        (progress(), GONE, "interrupted"),
        (progress(), UNKNOWN, "running"),
        (progress(age=61), UNKNOWN, "interrupted"),
        (progress(age=61), "RUNNING", "running"),
        ({}, "PENDING", "pending"),
        ({}, "FAILED", "interrupted"),
        ({}, GONE, "interrupted"),
        (progress("failed", attempt=1), "RUNNING", "pending"),
        (progress("succeeded", attempt=1), GONE, "interrupted"),
    ],
)
def test_both_accounts_are_joined(written: dict[str, Any], job: str, phase: str) -> None:
    assert assess(RECORD, written, JobState(job), NOW).phase == phase


def test_an_interrupted_run_says_how_to_go_on() -> None:
    view = assess(RECORD, progress(), JobState("FAILED", "killed"), NOW)
    assert view.hint == "astroctl resume r"
    assert "killed" in view.note


def test_a_driver_that_is_silent_is_told_of() -> None:
    view = assess(RECORD, progress(age=75), JobState("RUNNING"), NOW)
    assert view.note == "no sign of life for 75 s"


def test_an_earlier_attempts_error_is_not_shown() -> None:
    earlier = progress("failed", attempt=1) | {"error": {"message": "x"}}
    assert assess(RECORD, earlier, JobState("RUNNING"), NOW).error is None


@given(
    phase=st.sampled_from(["pending", "running", *FINAL]),
    job=st.sampled_from(["PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED", GONE, UNKNOWN]),
    age=st.floats(0, 1000),
    attempt=st.integers(1, 2),
)
def test_a_run_whose_job_is_over_is_never_shown_as_running(
    phase: str, job: str, age: float, attempt: int
) -> None:
    view = assess(RECORD, progress(phase, age, attempt), JobState(job), NOW)
    if job in ("STOPPED", "SUCCEEDED", "FAILED", GONE):
        assert view.phase not in ("pending", "running")
    if view.phase == "interrupted":
        assert view.note
        assert view.hint
    assert dataclasses.asdict(view.record)["name"] == view.to_dict()["name"]
