"""``render`` and ``diff``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from astroctl.targets.kubernetes.differences import flat
from astroctl.targets.kubernetes.precheck import lost
from tests.astroctl.conftest import Astroctl, write_run
from tests.astroctl.kubernetes.conftest import Cli, StandIn, plain

POOL = """
apiVersion: v1
kind: ConfigMap
metadata: {name: something-else}
---
apiVersion: astrosage.io/v1alpha1
kind: GPUNodePool
metadata: {name: h100}
spec:
  driver: karpenter
  reference: {name: h100}
  maxNodes: 4
  gpusPerNode: 8
  nodeSelector: {gpu: h100}
"""


@pytest.fixture
def offline(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No cluster can be reached, and none is asked."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))


def documents(text: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text))


def test_render_prints_everything_that_a_job_becomes(
    astroctl: Astroctl, offline: None, tmp_path: Path
) -> None:
    file = write_run(tmp_path / "job.yaml", plain("small"))
    result = astroctl("render", "-f", file, "-n", "team")
    assert result.exit_code == 0, result.stderr
    found = documents(result.stdout)
    kinds = [d["kind"] for d in found]
    assert kinds == ["AstroJob", "Secret", "PodDisruptionBudget", "RayJob"]
    assert {d["metadata"]["namespace"] for d in found} == {"team"}
    assert "settings: built in" in result.stderr
    assert "not both" in result.stderr
    assert astroctl("render", "-f", file, "-n", "team").stdout == result.stdout
    only = documents(astroctl("render", "-f", file, "--what", "astrojob").stdout)
    assert [d["kind"] for d in only] == ["AstroJob"]
    rest = documents(astroctl("render", "-f", file, "--what", "rayjob").stdout)
    assert "AstroJob" not in [d["kind"] for d in rest]


def test_render_takes_settings_and_pools_from_files(
    astroctl: Astroctl, offline: None, tmp_path: Path
) -> None:
    data = plain("small", storage="./runs")
    data["spec"]["cluster"] = {"pool": "h100", "resourcesPerWorker": {"gpu": 1}}
    file = write_run(tmp_path / "job.yaml", data)
    settings, pools = tmp_path / "settings.yaml", tmp_path / "pools.yaml"
    settings.write_text("image: registry.example/ray:7\nstorage: s3://lab/runs\n")
    pools.write_text(POOL)
    options = ("--settings", settings, "--pool-file", pools)
    result = astroctl("render", "-f", file, *options, "--stages", "corpus")
    assert result.exit_code == 0, result.stderr
    astrojob, *_, rayjob = documents(result.stdout)
    assert astrojob["spec"]["storage"] == "s3://lab/runs"
    assert astrojob["metadata"]["annotations"] == {"astrosage.io/stages": "corpus"}
    spec = rayjob["spec"]["rayClusterSpec"]
    pod = spec["workerGroupSpecs"][0]["template"]["spec"]
    assert pod["containers"][0]["image"] == "registry.example/ray:7"
    assert "h100" in json.dumps(pod)
    assert "s3://lab/runs/default/small" in rayjob["spec"]["entrypoint"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ((), 3, "spec.cluster.pool: the GPUNodePool `h100` is not known"),
        (("--pool-file", "nowhere.yaml"), 3, "--pool-file: nowhere.yaml cannot be read"),
        (("--settings", "nowhere.yaml"), 3, "settings nowhere.yaml cannot be read"),
        (("--stages", "cpd"), 2, "--stages: the run file has no stage `cpd`"),
    ],
)
def test_render_names_what_is_missing(
    astroctl: Astroctl,
    offline: None,
    tmp_path: Path,
    options: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    data = plain("small")
    data["spec"]["cluster"] = {"pool": "h100"}
    file = write_run(tmp_path / "job.yaml", data)
    result = astroctl("render", "-f", file, *options)
    assert result.exit_code == code, result.output
    assert message in result.stderr


def test_render_warns_of_local_paths_and_refuses_local_storage(
    astroctl: Astroctl, offline: None, run_file: Path
) -> None:
    refused = astroctl("render", "-f", run_file)
    assert refused.exit_code == 2
    assert "spec.storage" in refused.stderr
    result = astroctl("render", "-f", run_file, "--set", "spec.storage=s3://bucket/runs")
    assert result.exit_code == 0, result.stderr
    assert "spec.stages[0].prepare.sources[0].path" in result.stderr
    assert "brings it along" in result.stderr


def test_diff_tells_by_field_and_by_exit_code(cli: Cli, stand_in: StandIn, tmp_path: Path) -> None:
    data = plain("small")
    file = write_run(tmp_path / "job.yaml", data)
    missing = cli("diff", "-f", file)
    assert missing.exit_code == 3
    stand_in.create(data)
    same = cli("diff", "-f", file)
    assert same.exit_code == 0, same.output
    assert "no difference" in same.stdout
    changed = cli(
        *("diff", "-f", file, "--set", "spec.stages.cpt.train.maxSteps=9"),
        *("--set", "spec.cluster.workers=4"),
    )
    assert changed.exit_code == 1
    lines = changed.stdout.splitlines()
    assert lines[0] == f"--- cluster: AstroJob {stand_in.namespace}/small, generation 1"
    assert "-spec.stages[cpt].train.maxSteps: 2" in lines
    assert "+spec.stages[cpt].train.maxSteps: 9" in lines
    assert "+spec.cluster.workers: 4" in lines
    data = json.loads(
        cli("diff", "-f", file, "--set", "spec.cluster.workers=4", "-o", "json").stdout
    )
    assert data == [{"field": "spec.cluster.workers", "cluster": 1, "file": 4}]


def test_diff_counts_local_files_as_what_they_are_uploaded_to(
    cli: Cli, job_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from astroctl.targets.kubernetes import submission

    monkeypatch.setattr(submission, "_ACCEPTED_SECONDS", 0.1)
    assert cli("submit", "-f", job_file, "--target", "kubernetes").exit_code == 0
    assert cli("diff", "-f", job_file).exit_code == 0
    (job_file.parent / "texts" / "c.md").write_text("A third article.\n")
    changed = cli("diff", "-f", job_file)
    assert changed.exit_code == 1
    assert "spec.stages[corpus].prepare.sources[0].path" in changed.stdout


def test_flat_names_items_of_lists() -> None:
    value = {"a": [{"name": "x", "b": 1}, 2], "c": {}, "d": None}
    assert dict(flat(value)) == {"a[x].name": "x", "a[x].b": 1, "a[1]": 2, "c": {}, "d": None}


def test_lost_finds_what_a_server_did_not_keep() -> None:
    sent = {"a": 1, "b": {"c": [{"d": 1, "e": {}}]}, "f": []}
    assert lost(sent, {"a": 1, "b": {"c": [{"d": 1}]}, "more": 2}) == []
    assert lost(sent, {"b": {"c": [{}]}}) == ["a", "b.c[0].d"]
