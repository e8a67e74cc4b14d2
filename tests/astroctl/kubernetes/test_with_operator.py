"""The command line with a real operator process; KubeRay and Ray are stand-ins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from astroctl.kube.client import Kube
from astroctl.kube.resources import ASTROJOB, RAYJOB
from tests.astroctl.controller.operators import Field, Operator
from tests.astroctl.controller.world import progress
from tests.astroctl.kubernetes.conftest import Cli
from tests.kube.heads import Script
from tests.kube.kuberay import KubeRay
from tests.kube.objects import eventually

SUBMIT = ("submit", "train", "--target", "kubernetes")
FOREVER = float("inf")


@pytest.fixture
def operator(
    cli: Cli,
    kuberay: KubeRay,
    kubeconfig: Path,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Operator]:
    monkeypatch.setenv("ASTROCTL_SYSTEM_NAMESPACE", namespace)
    process = Operator(kubeconfig, namespace, tmp_path / "operator")
    process.start()
    yield process
    process.stop(10)


@pytest.fixture
def field(kube: Kube, namespace: str) -> Field:
    return Field(kube, namespace)


def led(field: Field) -> None:
    eventually(lambda: field.leader() == "one", 60)


def test_submit_and_follow_to_success(
    cli: Cli, job_file: Path, operator: Operator, field: Field, kuberay: KubeRay
) -> None:
    led(field)
    kuberay.script = Script(seconds=2, progress=lambda elapsed: progress())
    result = cli(*SUBMIT, "-f", job_file, "--follow", "-o", "json")
    assert result.exit_code == 0, result.stderr
    assert "no operator" not in result.stderr
    assert json.loads(result.stdout)["phase"] == "succeeded"
    assert json.loads(cli("list", "-o", "json").stdout)[0]["phase"] == "succeeded"
    again = cli("resume", "small")
    assert again.exit_code == 0
    assert "nothing to do" in again.stderr


def test_stop_resume_and_delete(
    cli: Cli,
    job_file: Path,
    operator: Operator,
    field: Field,
    kuberay: KubeRay,
    kube: Kube,
    namespace: str,
) -> None:
    led(field)
    kuberay.script = Script(seconds=FOREVER, progress=lambda elapsed: progress())
    assert cli(*SUBMIT, "-f", job_file).exit_code == 0
    field.until("Running", "small", 90)
    assert ": running" in cli("status", "small").stdout
    stopped = cli("stop", "small")
    assert stopped.exit_code == 0, stopped.stderr
    assert ": suspended" in stopped.stdout
    kuberay.script = Script(seconds=1, progress=lambda elapsed: progress())
    resumed = cli("resume", "small", "--follow", "-o", "json")
    assert resumed.exit_code == 0, resumed.stderr
    assert json.loads(resumed.stdout)["phase"] == "succeeded"
    assert field.rayjobs()[-1] == "small-0-2"
    deleted = cli("delete", "small", "--yes")
    assert deleted.exit_code == 0, deleted.stderr
    assert kube.find(ASTROJOB, "small", namespace) is None
    eventually(lambda: kube.list(RAYJOB, namespace) == [], 30)


def test_a_failed_job_can_be_resumed(
    cli: Cli, job_file: Path, operator: Operator, field: Field, kuberay: KubeRay
) -> None:
    led(field)
    kuberay.script = Script(status="FAILED", message="the driver ended with exit code 6")
    set_ = ("--set", "spec.retry.maxFailures=0")
    failed = cli(*SUBMIT, "-f", job_file, *set_, "--follow")
    assert failed.exit_code not in (0, 130), failed.stderr
    assert "error: " in failed.stderr
    kuberay.script = Script(seconds=1, progress=lambda elapsed: progress())
    resumed = cli("resume", "small", "--follow")
    assert resumed.exit_code == 0, resumed.stderr


def test_a_job_that_the_operator_refuses_is_not_left_behind(
    cli: Cli, tmp_path: Path, operator: Operator, field: Field, kube: Kube, namespace: str
) -> None:
    led(field)
    file = tmp_path / "job.yaml"
    file.write_text(
        "metadata: {name: small}\n"
        "spec:\n"
        "  model: smollm2-135m\n"
        "  storage: s3://bucket/runs\n"
        "  stages:\n"
        "    - {name: corpus, prepare: {sources: [{path: pvc://other/texts/*.md}]}}\n"
    )
    result = cli("submit", "-f", file, "--target", "kubernetes")
    assert result.exit_code == 2, result.stderr
    eventually(lambda: kube.find(ASTROJOB, "small", namespace) is None)
