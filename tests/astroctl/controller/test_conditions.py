from __future__ import annotations

from astroctl.controller.conditions import drop, find, put
from astroctl.kube.times import seconds, timestamp


def test_time_changes_only_with_the_status() -> None:
    first = put([], "Running", False, "Starting", "a", generation=1, now=100)
    later = put(first, "Running", False, "Waiting", "b", generation=2, now=200)
    flipped = put(later, "Running", True, "Running", "", generation=2, now=300)
    assert seconds(first[0]["lastTransitionTime"]) == 100
    assert seconds(later[0]["lastTransitionTime"]) == 100
    assert later[0]["reason"] == "Waiting"
    assert later[0]["observedGeneration"] == 2
    assert seconds(flipped[0]["lastTransitionTime"]) == 300
    assert first[0]["reason"] == "Starting", "what was given is left as it is"


def test_others_stay_in_their_place() -> None:
    both = put([], "A", True, "X", "", generation=None, now=1)
    both = put(both, "B", None, "Y", "", generation=None, now=1)
    both = put(both, "A", False, "Z", "", generation=None, now=2)
    assert [c["type"] for c in both] == ["A", "B"]
    assert both[1]["status"] == "Unknown"
    assert [c["type"] for c in drop(both, "A")] == ["B"]
    assert find(both, "C") is None


def test_times_go_there_and_back() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00Z"
    assert seconds(timestamp(1_795_000_000)) == 1_795_000_000
    assert seconds("2026-11-24T12:00:00.123456Z") > seconds("2026-11-24T12:00:00Z")
    assert seconds(None) == 0
