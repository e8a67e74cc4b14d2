"""Many jobs at once: 200, or as many as ASTRO_TEST_JOBS says."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from astroctl.kube.client import Kube
from astroctl.kube.resources import ASTROJOB
from tests.astroctl.controller.operators import Field, Maker
from tests.astroctl.controller.world import job
from tests.kube.heads import Script
from tests.kube.kuberay import KubeRay

JOBS = int(os.environ.get("ASTRO_TEST_JOBS", "200"))
_PATIENCE_SECONDS = 500.0


@pytest.fixture
def swift(kube: Kube, namespace: str, crds: list[str]) -> Iterator[KubeRay]:
    """A stand-in for KubeRay without pods, so that the operator is what limits."""
    operator = KubeRay(kube, namespace, pods=False, tick=0.5)
    operator.script = Script(seconds=1)
    operator.start()
    yield operator
    operator.stop()


@pytest.mark.many
def test_many_jobs_at_once(
    kube: Kube, namespace: str, swift: KubeRay, field: Field, operator: Maker
) -> None:
    names = [f"job-{n}" for n in range(JOBS)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: kube.create(job(namespace, name)), names))
    one = operator()
    began = time.monotonic()
    phases: Counter[str] = Counter()
    while phases["Succeeded"] < JOBS:
        assert one.lives, one.said()
        assert time.monotonic() - began < _PATIENCE_SECONDS, phases
        time.sleep(2)
        phases = Counter(
            str((j.get("status") or {}).get("phase")) for j in kube.pages(ASTROJOB, namespace)
        )
    seconds = time.monotonic() - began
    print(f"{JOBS} jobs in {seconds:.0f} s, {60 * JOBS / seconds:.0f} a minute")
    assert field.rayjobs() == sorted(f"{name}-0-1" for name in names)
    assert sorted(swift.scripted.submitted) == field.rayjobs()
