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


def test_trackers_get_the_variables_of_this_shell(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org")
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    assert passed(["mlflow"], tmp_path)["MLFLOW_TRACKING_URI"] == "https://mlflow.example.org"
    assert "WANDB_API_KEY" not in passed(["mlflow"], tmp_path)
    assert passed(["wandb"], tmp_path)["WANDB_API_KEY"] == "secret"
    assert not {"MLFLOW_TRACKING_URI", "WANDB_API_KEY"} & passed(["tensorboard"], tmp_path).keys()
