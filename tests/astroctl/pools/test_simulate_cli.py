"""``astroctl pools simulate``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from astroctl.cli.commands.pools_simulate import command
from astrosage.errors import AstroError, NotFoundError, SpecError
from tests.astroctl.pools.test_documents import POOL, changed


@pytest.fixture
def pools(tmp_path: Path) -> str:
    sure = {**changed(spot=False, pricePerHour=60, budget={}), "metadata": {"name": "sure"}}
    (tmp_path / "pools.yaml").write_text(yaml.safe_dump_all([POOL, sure]))
    return str(tmp_path / "pools.yaml")


def test_a_trace_is_made_up_and_replayed(tmp_path: Path, pools: str) -> None:
    trace = str(tmp_path / "trace.csv")
    made = CliRunner().invoke(
        command, [trace, "--generate", "60", "--days", "0.5"], catch_exceptions=False
    )
    assert (made.exit_code, made.stdout) == (0, "")
    assert "wrote 60 jobs" in made.stderr
    asked = [trace, "--pools", pools, "--preemptions-per-hour", "0.1"]
    shown = CliRunner().invoke(command, asked, catch_exceptions=False)
    assert shown.exit_code == 0
    for line in ("jobs finished", "GPU-hours paid", "utilisation", "wait p99", "cost, USD"):
        assert line in shown.stdout
    told = CliRunner().invoke(command, [*asked, "-o", "json"], catch_exceptions=False)
    data = json.loads(told.stdout)
    assert [r["way"] for r in data["results"]] == ["gangs", "pods", "fixed"]
    assert data["assumptions"]["preemptionsPerHour"] == 0.1
    assert all(r["finished"] + r["neverFit"] == 60 for r in data["results"])
    one = CliRunner().invoke(command, [*asked, "--way", "gangs", "-o", "yaml"])
    assert yaml.safe_load(one.stdout)["results"] == data["results"][:1]


def test_mistakes(tmp_path: Path, pools: str) -> None:
    def error(*arguments: str) -> AstroError:
        result = CliRunner().invoke(command, list(arguments))
        assert isinstance(result.exception, AstroError)
        return result.exception

    assert isinstance(error("none.csv"), SpecError)
    assert "--pools" in error("none.csv").message
    missing = str(tmp_path / "none.csv")
    assert isinstance(error(missing, "--pools", pools), NotFoundError)
    assert isinstance(error(missing, "--pools", missing), NotFoundError)
    (tmp_path / "kept.csv").write_text("somebody's\n")
    kept = str(tmp_path / "kept.csv")
    assert "is there already" in error(kept, "--generate", "5").message
    assert (tmp_path / "kept.csv").read_text() == "somebody's\n"
