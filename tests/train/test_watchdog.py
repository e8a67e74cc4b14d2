import json
import math
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.spec.train import Watchdog
from astrosage.train.watchdog import ENOUGH, FLOOR, WINDOW, HangWatch, LossWatch

BAD = (math.nan, math.inf, -math.inf)


@pytest.mark.parametrize("bad", BAD)
def test_what_is_not_finite_is_bad_from_the_first_step_on(bad: float) -> None:
    watch = LossWatch(Watchdog())
    assert watch.verdict(bad, 1.0) == f"loss is {bad}"
    assert watch.verdict(2.0, bad) == f"gradient norm is {bad}"
    assert watch.verdict(2.0, None) is None
    assert watch.verdict(2.0, 1.0) is None


def test_an_explosion_is_judged_after_enough_good_losses() -> None:
    watch = LossWatch(Watchdog(explosion_ratio=4.0))
    for _ in range(ENOUGH - 1):
        assert watch.verdict(2.0) is None
    assert watch.verdict(9.0) is None
    verdict = watch.verdict(9.0)
    assert verdict == "loss is 9, more than 4 times the median 2 of the last 8 good steps"


def test_bad_losses_do_not_move_the_median() -> None:
    watch = LossWatch(Watchdog(explosion_ratio=2.0))
    for _ in range(ENOUGH):
        watch.verdict(1.0)
    assert all(watch.verdict(3.0) for _ in range(100))
    assert watch.verdict(1.9) is None


def test_without_a_ratio_only_what_is_not_finite_is_bad() -> None:
    watch = LossWatch(Watchdog(explosion_ratio=None))
    assert all(watch.verdict(loss) is None for loss in [1.0] * ENOUGH + [1e30])
    assert watch.verdict(math.nan)


def test_small_losses_may_differ_by_large_ratios() -> None:
    watch = LossWatch(Watchdog(explosion_ratio=4.0))
    for _ in range(ENOUGH):
        watch.verdict(0.001)
    assert watch.verdict(3.9 * FLOOR) is None
    assert watch.verdict(4.1 * FLOOR)


@given(
    st.lists(st.floats(0.0, 50.0) | st.sampled_from(BAD), max_size=3 * WINDOW),
    st.floats(1.01, 10.0),
    st.data(),
)
def test_the_history_survives_a_checkpoint(
    losses: list[float], ratio: float, data: st.DataObject
) -> None:
    spec = Watchdog(explosion_ratio=ratio)
    whole = LossWatch(spec)
    expected = [whole.verdict(loss) for loss in losses]
    cut = data.draw(st.integers(0, len(losses)))
    first, second = LossWatch(spec), LossWatch(spec)
    found = [first.verdict(loss) for loss in losses[:cut]]
    second.load_state_dict(json.loads(json.dumps(first.state_dict(), allow_nan=False)))
    found += [second.verdict(loss) for loss in losses[cut:]]
    assert found == expected
    assert second.state_dict() == whole.state_dict()
    assert len(whole.state_dict()["good"]) <= WINDOW


@given(st.floats(FLOOR, 10.0), st.integers(0, 200))
def test_a_steady_loss_is_never_bad(loss: float, steps: int) -> None:
    watch = LossWatch(Watchdog())
    assert not any(watch.verdict(loss * (1 + (i % 3)), 1.0) for i in range(steps))


def run(tmp_path: Path, body: str) -> tuple[subprocess.CompletedProcess[str], str, float]:
    """Run a worker that logs to a run directory; its exit, its log and how long it took."""
    script = """
    import ctypes, threading, time
    from astrosage.runs.logs import logging_to
    from astrosage.runs.storage import Storage
    from astrosage.train.watchdog import HangWatch

    def waits_for_a_lock_that_never_comes():
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()

    """
    script = textwrap.dedent(script) + (
        f"with logging_to(Storage({str(tmp_path)!r}), 'rank-0.log'):\n"
        + textwrap.indent(textwrap.dedent(body), "    ")
    )
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    log = tmp_path / "logs" / "rank-0.log"
    return done, log.read_text() if log.exists() else "", time.monotonic() - began


def test_a_hang_is_diagnosed_and_the_process_killed(tmp_path: Path) -> None:
    done, log, _ = run(
        tmp_path,
        """
        with HangWatch(1.0) as watch:
            watch.beat("step 12: backward")
            waits_for_a_lock_that_never_comes()
        """,
    )
    assert done.returncode == -signal.SIGKILL
    assert "since step 12: backward" in log
    assert "in waits_for_a_lock_that_never_comes" in log
    assert "still makes no progress: killed" in log


def test_beats_keep_it_quiet(tmp_path: Path) -> None:
    done, log, took = run(
        tmp_path,
        """
        with HangWatch(1.0) as watch:
            for _ in range(12):
                time.sleep(0.1)
                watch.beat()
        time.sleep(1.6)
        print("ended")
        """,
    )
    assert (done.returncode, done.stdout, log) == (0, "ended\n", "")
    assert took > 2.8


def test_a_step_that_comes_back_is_told_of_once_and_spared(tmp_path: Path) -> None:
    done, log, _ = run(
        tmp_path,
        """
        with HangWatch(1.0) as watch:
            for _ in range(2):
                watch.beat()
                time.sleep(1.3)
        """,
    )
    assert done.returncode == 0, done.stderr
    assert log.count("no progress for") == 2
    assert "killed\n" not in log


def test_native_code_that_keeps_the_lock_is_ended_too(tmp_path: Path) -> None:
    done, _, took = run(
        tmp_path,
        """
        with HangWatch(1.0) as watch:
            time.sleep(0.5)
            ctypes.PyDLL(None).sleep(30)  # PyDLL does not release the interpreter's lock
        """,
    )
    assert done.returncode == 1
    assert "Timeout (0:00:02)!" in done.stderr
    assert took < 10


def test_a_log_that_hangs_does_not_keep_the_process_alive(tmp_path: Path) -> None:
    done, _, took = run(
        tmp_path,
        """
        with HangWatch(1.0, on_hang=lambda text: time.sleep(60)):
            waits_for_a_lock_that_never_comes()
        """,
    )
    assert done.returncode == -signal.SIGKILL
    assert took < 10


def test_switched_off_it_starts_no_thread() -> None:
    import threading

    before = threading.active_count()
    with HangWatch(None) as watch:
        watch.beat("anything")
        assert threading.active_count() == before


def test_a_beat_is_cheap() -> None:
    with HangWatch(60.0) as watch:
        began = time.perf_counter()
        for _ in range(10_000):
            watch.beat("step")
        assert (time.perf_counter() - began) / 10_000 < 50e-6
