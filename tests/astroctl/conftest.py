from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from astroctl.cli import cli

Astroctl = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of the test's own."""
    folder = tmp_path / "home"
    monkeypatch.setenv("ASTROCTL_HOME", str(folder))
    return folder


@pytest.fixture
def astroctl() -> Astroctl:
    """Run a command line in this process."""

    def run(*arguments: object, **options: Any) -> Result:
        result = CliRunner().invoke(cli, [str(a) for a in arguments], **options)
        assert "Traceback" not in result.output, result.output
        return result

    return run


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A folder with two short articles."""
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.md").write_text("A star shines by fusing hydrogen into helium in its core.\n")
    (folder / "b.md").write_text("Planets move around the Sun on ellipses.\n")
    return folder


@pytest.fixture
def run_file(tmp_path: Path, texts: Path, tiny_model: Path) -> Path:
    """A small run file: prepare and train, on a tiny model."""
    return write_run(tmp_path / "job.yaml", job_data(tiny_model, texts))


def job_data(model: Path, texts: Path, name: str = "small") -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {
            "model": str(model),
            "stages": [
                {
                    "name": "corpus",
                    "prepare": {
                        "sources": [{"path": f"{texts}/*.md"}],
                        "pack": {"sequenceLength": 32},
                    },
                },
                {"name": "cpt", "train": {"objective": "cpt", "data": "corpus", "maxSteps": 2}},
            ],
        },
    }


def write_run(path: Path, data: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(data))
    return path
