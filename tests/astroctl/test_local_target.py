from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from astroctl.targets.base import Submission
from astroctl.targets.local import LocalTarget
from astrosage.spec.load import parse


def passed(tracking: list[str], tmp_path: Path) -> dict[str, Any]:
    """The variables that a job with these trackers is started with."""
    train = {"objective": "cpt", "data": "corpus", "tracking": tracking}
    job = parse(
        {
            "metadata": {"name": "r"},
            "spec": {
                "model": "smollm2-135m",
                "storage": str(tmp_path),
                "stages": [
                    {"name": "corpus", "prepare": {"sources": [{"path": "/a.md"}]}},
                    {"name": "cpt", "train": train},
                ],
            },
        }
    )
    target = LocalTarget()
    target.check(job)
    submission = Submission(id="default-r-1", run_uri=str(tmp_path), stages=["cpt"], attempt=1)
    return dict(target.runtime_env(submission)["env_vars"])


def test_a_generate_stage_gets_the_keys_that_it_names(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRITER_KEY", "one")
    monkeypatch.setenv("GRADER_KEY", "two")
    monkeypatch.setenv("OTHER_KEY", "three")
    service = {"url": "https://api.example.org/v1", "model": "m"}
    made = {
        "sources": [{"path": "/a.md"}],
        "writer": {**service, "apiKeyEnv": "WRITER_KEY"},
        "grader": {**service, "apiKeyEnv": "GRADER_KEY"},
    }
    spec = {"model": "m", "storage": str(tmp_path), "stages": [{"name": "qa", "generate": made}]}
    target = LocalTarget()
    target.check(parse({"metadata": {"name": "r"}, "spec": spec}))
    submission = Submission(id="default-r-1", run_uri=str(tmp_path), stages=["qa"], attempt=1)
    handed = dict(target.runtime_env(submission)["env_vars"])
    assert (handed["WRITER_KEY"], handed["GRADER_KEY"]) == ("one", "two")
    assert "OTHER_KEY" not in handed


def test_trackers_get_the_variables_of_this_shell(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org")
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    assert passed(["mlflow"], tmp_path)["MLFLOW_TRACKING_URI"] == "https://mlflow.example.org"
    assert "WANDB_API_KEY" not in passed(["mlflow"], tmp_path)
    assert passed(["wandb"], tmp_path)["WANDB_API_KEY"] == "secret"
    assert not {"MLFLOW_TRACKING_URI", "WANDB_API_KEY"} & passed(["tensorboard"], tmp_path).keys()
