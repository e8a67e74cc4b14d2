"""From an AstroJob's status to what people are shown; no cluster."""

from __future__ import annotations

from typing import Any

import pytest

from astroctl.cli.follow import outcome
from astroctl.render.settings import Settings
from astroctl.runs import registry
from astroctl.runs.find import Where, find
from astroctl.targets.kubernetes.account import account, record_of
from astrosage.errors import AstroError, NotFoundError

NOW = 1_800_000_000.0
CREATED = "2027-01-15T07:59:55Z"  # five seconds before


def job(phase: str | None = None, **parts: Any) -> dict[str, Any]:
    status = {"phase": phase, "observedGeneration": 1, **parts.pop("status", {})} if phase else {}
    meta = {
        "name": "small",
        "namespace": "team",
        "generation": 1,
        "creationTimestamp": CREATED,
        **parts.pop("metadata", {}),
    }
    spec = {"storage": "s3://b/runs", "stages": [{"name": "a"}, {"name": "b"}]}
    return {"metadata": meta, "spec": spec | parts.pop("spec", {}), "status": status}


def seen(obj: dict[str, Any], now: float = NOW) -> Any:
    return account(record_of(obj, "lab", "", Settings), obj, now=now)


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def test_a_new_job_is_pending_and_later_nobody_looks() -> None:
    assert (seen(job()).phase, seen(job()).hint) == ("pending", "")
    late = seen(job(), NOW + 60)
    assert late.note == "no operator has looked at it"
    assert "doctor" in late.hint


@pytest.mark.parametrize("phase", ["Suspended", "Failed", "Stopped"])
def test_what_was_asked_and_not_yet_seen_counts_as_pending(phase: str) -> None:
    assert seen(job(phase)).phase == phase.lower()
    assert seen(job(phase, metadata={"generation": 2})).phase == "pending"
    asked = {"annotations": {"astrosage.io/retry": "now"}}
    assert seen(job(phase, metadata=asked)).phase == "pending"
    obeyed = job(phase, metadata=asked, status={"observedRetry": "now"})
    assert seen(obeyed).phase == phase.lower()
    resting = job(phase, metadata={"generation": 2}, spec={"suspend": True})
    assert seen(resting).phase == phase.lower()


def test_a_job_that_succeeded_and_shall_run_more_stages_is_pending_again() -> None:
    status = {"stages": [{"name": "a", "phase": "finished"}]}
    more = {"annotations": {"astrosage.io/stages": "b"}}
    assert seen(job("Succeeded", status=status)).phase == "succeeded"
    assert seen(job("Succeeded", status=status, metadata=more)).phase == "pending"


def test_a_refused_job_says_why() -> None:
    refusal = condition("Accepted", "False", "LocalPath", "paths of some machine's disk")
    state = seen(job("Pending", status={"conditions": [refusal]}))
    assert state.note == "paths of some machine's disk"
    assert "resume small" in state.hint or "resume team/small" in state.hint


def test_a_retry_that_is_waited_for() -> None:
    state = seen(job("Pending", status={"retryAt": "2027-01-15T08:00:30Z"}))
    assert state.note == "the next attempt starts in 30 s"


def test_a_silent_driver() -> None:
    status = {"progress": {"heartbeat": "2027-01-15T07:50:00Z"}}
    assert seen(job("Running", status=status)).note == "no sign of life for 600 s"


def test_failures_end_with_their_familys_exit_code() -> None:
    error = {"type": "TrainingError", "message": "NaN", "hint": "", "retryable": False}
    assert outcome(seen(job("Failed", status={"error": error}))).exit_code == 7
    foreign = {"type": "ValueError", "message": "ValueError: x"}
    assert outcome(seen(job("Failed", status={"error": foreign}))).exit_code == 1
    bare = outcome(seen(job("Failed", status={"message": "head pod was OOMKilled"})))
    assert isinstance(bare, AstroError)
    assert (bare.exit_code, bare.message) == (5, "head pod was OOMKilled")
    assert outcome(seen(job("Suspended"))).exit_code == 130


def test_the_record_of_a_job() -> None:
    status = {"rayJobs": [{"name": "small-0-3", "attempt": 3, "state": "Active"}, {"name": ""}]}
    record = record_of(job("Running", status=status), "lab", "/k", Settings)
    assert (record.attempt, record.submission_id) == (3, "small-0-3")
    assert record.uri == "s3://b/runs/team/small"
    assert record.stages == ["a", "b"]
    left = job(spec={"storage": "./runs"})
    assert record_of(left, "", "", lambda: Settings(storage="pvc://c/x")).uri == (
        "pvc://c/x/team/small"
    )


def record(namespace: str, target: str, context: str = "", when: float = 0.0) -> registry.Record:
    return registry.Record(
        namespace, "small", "s3://b", target=target, context=context, submitted=when
    )


def test_runs_of_one_name_on_several_clusters_stay_apart(home: Any) -> None:
    for one in (
        record("default", "local"),
        record("default", "kubernetes", "lab", 2.0),
        record("default", "kubernetes", "cloud", 1.0),
    ):
        registry.put(one)
    assert len(registry.all_records()) == 3
    assert find("small").context == "lab"
    assert find("small", where=Where("local")).target == "local"
    registry.remove(find("small").place)
    assert find("small").context == "cloud"


def test_a_name_without_a_namespace_is_found_where_it_is(home: Any) -> None:
    registry.put(record("team-a", "kubernetes", "lab"))
    assert find("small").namespace == "team-a"
    registry.put(record("team-b", "kubernetes", "lab"))
    with pytest.raises(NotFoundError, match="the name of several runs") as error:
        find("small")
    assert "team-a/small, team-b/small" in error.value.hint
    with pytest.raises(NotFoundError, match="no run `other/small`"):
        find("small", "other")
