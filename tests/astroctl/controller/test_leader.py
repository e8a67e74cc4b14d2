from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from astroctl.controller.leader import Leader
from astroctl.kube.client import Kube
from astroctl.kube.resources import LEASE

FAST = {"lease": 2.0, "renew": 1.2, "retry": 0.1}


def until(holds: Callable[[], Any], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Candidate:
    def __init__(self, kube: Kube, namespace: str, name: str) -> None:
        self.stop, self.leads = threading.Event(), False
        self.leader = Leader(kube, namespace, "lease", name, **FAST)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        if self.leader.acquire(self.stop.is_set):
            self.leads = True
            self.leader.hold(self.stop.is_set)
            self.leads = False


def test_one_leads_and_another_follows_when_it_goes(kube: Kube, namespace: str) -> None:
    first = Candidate(kube, namespace, "first")
    until(lambda: first.leads)
    second, third = (Candidate(kube, namespace, name) for name in ("second", "third"))
    time.sleep(3)
    assert first.leads
    assert not second.leads
    assert not third.leads
    first.stop.set()
    until(lambda: second.leads or third.leads, 1.9)  # released, not run out
    assert second.leads != third.leads
    lease = kube.get(LEASE, "lease", namespace)
    assert lease["spec"]["leaseTransitions"] == 1
    for one in (second, third):
        one.stop.set()
        one.thread.join(10)


def test_a_leader_that_died_is_succeeded_after_its_lease(kube: Kube, namespace: str) -> None:
    dead = Leader(kube, namespace, "lease", "dead", **FAST)
    assert dead.acquire()
    began = time.monotonic()
    heir = Candidate(kube, namespace, "heir")
    until(lambda: heir.leads)
    assert time.monotonic() - began >= 1.9
    heir.stop.set()
    heir.thread.join(10)


def test_a_leader_cut_off_steps_down_before_another_may_lead(
    kube: Kube, namespace: str, own_plane: Any
) -> None:
    cut = Candidate(kube, namespace, "cut")
    until(lambda: cut.leads)
    own_plane.stop_api()
    try:
        began = time.monotonic()
        until(lambda: not cut.leads)
        assert time.monotonic() - began < 2.0 + 1.0
    finally:
        own_plane.start_api()
    cut.thread.join(10)
