from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from astrosage.errors import ConflictError, NotFoundError, SpecError
from astrosage.runs.directory import RunDirectory
from ray_jobs.adopt import JOB, UID, adopt


def job(name: str = "one", **spec: Any) -> dict[str, Any]:
    stage = {"name": "cpt", "train": {"objective": "cpt", "data": "corpus"}}
    corpus = {"name": "corpus", "prepare": {"sources": [{"path": "s3://texts/*.md"}]}}
    return {
        "metadata": {"name": name},
        "spec": {
            "model": "org/model",
            "storage": "pvc://claim/runs",
            "stages": [corpus, stage],
            **spec,
        },
    }


def variables(data: dict[str, Any], uid: str = "u1") -> dict[str, str]:
    return {JOB: json.dumps(data), UID: uid}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "default" / "one")


def test_the_directory_is_made(run: RunDirectory) -> None:
    adopt(run, variables(job()))
    assert run.job().spec.storage == "pvc://claim/runs"
    assert run.progress() == {}


def test_the_same_job_goes_on_with_what_its_spec_says_now(run: RunDirectory) -> None:
    adopt(run, variables(job()))
    run.write_progress({"phase": "running", "heartbeat": time.time()})
    adopt(run, variables(job(retry={"maxFailures": 7})))
    assert run.job().spec.retry.max_failures == 7


def test_another_job_waits_until_the_first_is_over(run: RunDirectory) -> None:
    adopt(run, variables(job()))
    run.write_progress({"phase": "running", "heartbeat": time.time()})
    with pytest.raises(ConflictError, match="in use by another job \\(uid u1\\)"):
        adopt(run, variables(job(), uid="u2"))
    run.write_progress({"phase": "running", "heartbeat": time.time() - 120})
    adopt(run, variables(job(), uid="u2"))
    run.write_progress({"phase": "running", "heartbeat": time.time()})
    with pytest.raises(ConflictError):
        adopt(run, variables(job(), uid="u1"))


def test_without_a_job_in_the_environment_nothing_is_made(run: RunDirectory) -> None:
    adopt(run, {})
    with pytest.raises(NotFoundError):
        run.job()


def test_a_job_that_is_not_valid_is_told(run: RunDirectory) -> None:
    with pytest.raises(SpecError, match=r"spec\.modle: unknown field"):
        adopt(run, variables(job(modle="x")))
    assert not run.exists()
