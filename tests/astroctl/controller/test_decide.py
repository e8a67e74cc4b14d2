from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astroctl.controller.attempts import Attempt
from astroctl.controller.decide import LONGEST_BACKOFF, Record, Situation, Step, backoff, decide


def one(group: int, number: int, outcome: str = "running") -> Attempt:
    deployment, job = {
        "new": ("", ""),
        "starting": ("Initializing", ""),
        "running": ("Running", "RUNNING"),
        "succeeded": ("Complete", "SUCCEEDED"),
        "stopped": ("Complete", "STOPPED"),
        "failed": ("Failed", "FAILED"),
        "invalid": ("ValidationFailed", ""),
        "suspended": ("Suspended", ""),
    }[outcome]
    return Attempt(f"job-{group}-{number}", group, number, deployment, job)


NONE, ACTIVE, DONE = Record(), Record(1, "Active"), Record(1, "Succeeded")
FAILED = Record(1, "Failed")


@pytest.mark.parametrize(
    ("situation", "expected"),
    [
        (Situation([NONE], []), ("create", 0, 1)),
        (Situation([ACTIVE], [one(0, 1, "new")]), ("watch", 0, 1)),
        (Situation([NONE], [one(0, 1)]), ("watch", 0, 1)),
        (Situation([ACTIVE], [one(0, 1, "suspended")]), ("watch", 0, 1)),
        (Situation([ACTIVE, NONE], [one(0, 1, "succeeded")]), ("create", 1, 1)),
        (Situation([DONE, ACTIVE], [one(1, 1)]), ("watch", 1, 1)),
        (Situation([DONE, ACTIVE], [one(1, 1, "succeeded")]), ("succeed", -1, 0)),
        (Situation([DONE, DONE], []), ("succeed", -1, 0)),
        # Removed by hand while it ran: the next one.
        (Situation([ACTIVE], []), ("create", 0, 2)),
        (Situation([ACTIVE], [one(0, 1, "failed")]), ("fail", 0, 1)),
        (Situation([ACTIVE], [one(0, 1, "invalid")]), ("fail", 0, 1)),
        (Situation([FAILED], [one(0, 1, "failed")], retry_at=20, now=10), ("wait", 0, 1)),
        (Situation([FAILED], [one(0, 1, "failed")], retry_at=20, now=20), ("create", 0, 2)),
        # Failed for good, until a person asks.
        (Situation([FAILED], [one(0, 1, "failed")]), ("fail", 0, 1)),
        (Situation([FAILED], [one(0, 1, "failed")], retry=True), ("create", 0, 2)),
        (Situation([ACTIVE], [one(0, 1)], suspend=True), ("stop", 0, 1)),
        (Situation([ACTIVE], [one(0, 1, "stopped")], suspend=True), ("rest", -1, 0)),
        (Situation([NONE], [], suspend=True), ("rest", -1, 0)),
        (Situation([ACTIVE], [one(0, 1, "stopped")], was_suspended=True), ("create", 0, 2)),
        (Situation([ACTIVE], [one(0, 1, "stopped")]), ("stopped", 0, 1)),
        # Two of one group: the older is not meant to be.
        (Situation([ACTIVE], [one(0, 1), one(0, 2)]), ("remove", 0, 1)),
        (Situation([DONE, ACTIVE], [one(0, 2), one(1, 1)]), ("remove", 0, 2)),
    ],
)
def test_next_step(situation: Situation, expected: tuple[str, int, int]) -> None:
    step = decide(situation)
    assert (step.action, step.group, step.number) == expected


def test_a_rayjob_that_is_being_removed_is_waited_for() -> None:
    going = dataclasses.replace(one(0, 1, "failed"), deleting=True)
    assert decide(Situation([ACTIVE], [going])).action == "watch"


outcomes = st.sampled_from(["new", "starting", "running", "succeeded", "failed", "stopped"])
records = st.builds(
    Record, st.integers(0, 4), st.sampled_from(["", "Active", "Succeeded", "Failed", "Stopped"])
)
situations = st.integers(1, 3).flatmap(
    lambda n: st.builds(
        Situation,
        records=st.lists(records, min_size=n, max_size=n),
        attempts=st.lists(
            st.builds(one, st.integers(0, n - 1), st.integers(1, 4), outcomes),
            max_size=4,
            unique_by=lambda a: (a.group, a.number),
        ),
        suspend=st.booleans(),
        was_suspended=st.booleans(),
        retry=st.booleans(),
        retry_at=st.sampled_from([0.0, 5.0, 50.0]),
        now=st.just(10.0),
    )
)


@given(situations)
def test_nothing_is_ever_done_twice(situation: Situation) -> None:
    step = decide(situation)
    active = [a for a in situation.attempts if a.outcome == "active"]
    numbers = {(a.group, a.number) for a in situation.attempts}
    if step.action == "create":
        assert not active, "two Ray clusters at once"
        assert (step.group, step.number) not in numbers
        assert step.number > situation.records[step.group].attempt
        assert not situation.suspend
    if situation.suspend:
        assert step.action == ("stop" if active else "rest")
    if step.action == "succeed":
        assert not active


@given(situations)
def test_a_created_attempt_is_watched_whether_or_not_the_status_knows_it(
    situation: Situation,
) -> None:
    step = decide(situation)
    if step.action != "create":
        return
    made = one(step.group, step.number, "new")
    there = dataclasses.replace(situation, attempts=[*situation.attempts, made])
    assert decide(there) == Step("watch", step.group, step.number, made)


def test_backoff_doubles_up_to_half_an_hour() -> None:
    assert [backoff(n, 30) for n in (1, 2, 3)] == [30, 60, 120]
    assert backoff(1000, 30) == LONGEST_BACKOFF
