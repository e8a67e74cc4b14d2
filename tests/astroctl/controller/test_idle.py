"""GPUs that do nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from astroctl.controller.idle import Limits, Step, idle, moved
from astroctl.controller.why import reasons
from tests.astroctl.controller.made import NOW, ago, head, pod, rayjob, running

RUNNING = rayjob("Running", "RUNNING", ready_workers=4)
WORKERS = [pod(f"worker-{i}", node=f"gpu-{i}", ready=True, states=[running()]) for i in range(2)]
FRESH = {"stage": "cpt", "step": 100, "heartbeat": ago(5)}


def test_work_is_not_idle() -> None:
    assert idle(RUNNING, [head(), *WORKERS], FRESH, NOW, step=Step(("cpt", 100), NOW - 60)) is None


def test_pods_that_outlive_their_job() -> None:
    over = rayjob("Complete", "SUCCEEDED", endTime=ago(1000))
    found = idle(over, [head(), *WORKERS], None, NOW)
    assert found is not None
    assert (found.reason, found.gpus, found.reap) == ("GPUsHeldAfterEnd", 16, "train-0-1")
    assert "16m40s ago, and 2 pods still hold 16 GPUs" in found.message
    assert idle(over, [head()], None, NOW) is None
    assert idle(rayjob("Complete", "SUCCEEDED", endTime=ago(100)), WORKERS, None, NOW) is None


def test_driver_without_a_sign_of_life() -> None:
    found = idle(RUNNING, WORKERS, {"heartbeat": ago(400)}, NOW)
    assert found is not None
    assert (found.reason, found.since, found.reap) == ("HeartbeatStalled", NOW - 400, "")


def test_driver_that_has_not_spoken_yet_is_not_stalled() -> None:
    assert idle(RUNNING, WORKERS, None, NOW) is None


def test_steps_that_do_not_move() -> None:
    found = idle(RUNNING, WORKERS, FRESH, NOW, step=Step(("cpt", 100), NOW - 3600))
    assert found is not None
    assert (found.reason, found.since) == ("NoProgress", NOW - 3600)
    assert "stage cpt has stood at step 100 for 1h00m" in found.message


def test_part_of_a_gang() -> None:
    early = Limits(rest=200)
    waiting = pod("worker-z", said="0/2 nodes are available: 2 Insufficient nvidia.com/gpu.")
    found = idle(rayjob(), [head(), *WORKERS, waiting], None, NOW, limits=early)
    assert found is not None
    assert (found.reason, found.gpus) == ("GPUsWaitForRest", 16)
    assert idle(rayjob(), [head(), *WORKERS, waiting], None, NOW) is None
    assert idle(rayjob(), [head(), *WORKERS], None, NOW, limits=early) is None


def test_reasons_are_those_of_the_table() -> None:
    assert {r.name for r in reasons.IDLE} == {
        "GPUsHeldAfterEnd",
        "HeartbeatStalled",
        "NoProgress",
        "GPUsWaitForRest",
    }


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.integers(1, 900))))
def test_time_at_a_step_is_counted_from_its_first_sight(looks: list[tuple[str, int, int]]) -> None:
    now, kept, began, last = 0.0, None, 0.0, None
    for stage, step, pause in looks:
        now += pause
        if (stage, step) != last:
            began, last = now, (stage, step)
        kept = moved({"stage": stage, "step": step}, kept, now)
        assert kept == Step((stage, step), began)
    assert moved(None, kept, now) is None
