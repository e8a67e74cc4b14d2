"""The plan against real steps of the real engine; `benchmarks/plan_memory.py` has more cases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "plan_memory.py"


@pytest.mark.e2e
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("case", ["zero2", "zero3-two", "checkpointed"])
def test_planned_memory_is_within_15_percent_of_what_is_measured(case: str) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--case", case],
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[0])
    assert result["measured"] > 500e6
    assert abs(result["error"]) <= 0.15, result
    if "communicationMeasured" in result:
        planned = result["communicationPlanned"]
        assert result["communicationMeasured"] == pytest.approx(planned, rel=0.05)
