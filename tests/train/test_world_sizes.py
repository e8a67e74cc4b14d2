"""A training goes on under another ZeRO stage and number of workers as if nothing had happened."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e
RUN = Path(__file__).with_name("steps_run.py")
COMMON = {"learningRate": 1e-3, "weightDecay": 0.1, "schedule": "constant", "globalBatchSize": 4}


def steps(workers: int, model: Path, folder: Path, last: int, **options: Any) -> dict[str, Any]:
    """Train to a step with so many workers; their losses and gradient norms."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told = json.dumps({**COMMON, **options})
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CC": "/bin/false", "CXX": "/bin/false"}
    ranks = [
        subprocess.Popen(
            [
                *(sys.executable, "-W", "ignore", RUN),
                *map(str, (rank, workers, port, model, folder, told, last)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for rank in range(workers)
    ]
    said = [rank.communicate(timeout=120) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * workers, said[0][1][-3000:]
    found: dict[str, Any] = json.loads(said[0][0].splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({"precision": "fp32"}, 2e-5),
        ({"precision": "bf16", "activationCheckpointing": True, "lora": {"rank": 4}}, 2e-4),
    ],
    ids=["fp32", "bf16-lora"],
)
def test_stages_and_workers_may_change_at_any_checkpoint(
    options: dict[str, Any], tolerance: float, tiny_model: Path, tmp_path: Path
) -> None:
    whole = steps(1, tiny_model, tmp_path / "one", 8, zero={"stage": 3}, **options)
    found: dict[str, list[float]] = {"losses": [], "norms": []}
    for last, (workers, stage) in enumerate([(2, 3), (1, 3), (2, 0), (2, 2)], start=1):
        part = steps(
            workers, tiny_model, tmp_path / "many", 2 * last, zero={"stage": stage}, **options
        )
        found = {key: found[key] + part[key] for key in found}
    assert found["losses"] == pytest.approx(whole["losses"], rel=tolerance)
    assert found["norms"] == pytest.approx(whole["norms"], rel=100 * tolerance)
