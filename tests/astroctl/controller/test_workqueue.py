from __future__ import annotations

import threading
import time
from collections import Counter

from astroctl.controller.workqueue import WorkQueue


def until(holds, seconds: float = 5.0) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_key_is_worked_on_once_at_a_time_and_again_if_added_meanwhile() -> None:
    began, go = threading.Event(), threading.Event()
    running, most, looks = Counter[str](), Counter[str](), Counter[str]()

    def work(key: object) -> None:
        name = str(key)
        running[name] += 1
        most[name] = max(most[name], running[name])
        looks[name] += 1
        began.set()
        assert go.wait(5)
        running[name] -= 1

    queue = WorkQueue(work, 4)
    queue.start()
    queue.add("a")
    assert began.wait(5)
    for _ in range(10):
        queue.add("a")
    go.set()
    until(lambda: looks["a"] == 2 and len(queue) == 0)
    time.sleep(0.05)
    queue.close()
    assert looks["a"] == 2
    assert most["a"] == 1


def test_the_sooner_of_two_times_counts_and_a_look_may_ask_for_another() -> None:
    seen: list[float] = []
    began = time.monotonic()

    def work(key: object) -> float | None:
        seen.append(time.monotonic() - began)
        return 0.05 if len(seen) < 3 else None

    queue = WorkQueue(work, 2)
    queue.start()
    queue.add("a", 30.0)
    queue.add("a", 0.01)
    queue.add("a", 20.0)
    until(lambda: len(seen) == 3)
    queue.close()
    assert seen[0] < 5
    assert seen[1] - seen[0] >= 0.04


def test_failures_are_tried_again_later_and_later() -> None:
    told: list[object] = []
    looks: list[float] = []

    def work(key: object) -> None:
        looks.append(time.monotonic())
        if len(looks) < 3:
            raise ValueError("no")

    queue = WorkQueue(work, 1, failed=lambda key, error: told.append((key, str(error))))
    queue.start()
    queue.add("a")
    until(lambda: len(looks) == 3)
    queue.close()
    assert told == [("a", "no")] * 2
    assert looks[2] - looks[1] > looks[1] - looks[0] > 0.3


def test_many_keys_are_all_looked_at() -> None:
    seen = Counter[object]()
    lock = threading.Lock()

    def work(key: object) -> None:
        with lock:
            seen[key] += 1

    queue = WorkQueue(work, 8)
    queue.start()
    for i in range(2000):
        queue.add(i % 500)
    until(lambda: len(queue) == 0 and len(seen) == 500)
    queue.close()
