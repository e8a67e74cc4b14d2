from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from astroctl.kube.client import Kube
from astroctl.kube.resources import ASTROJOB, CRD, NODE, POOL, RAYJOB
from astroctl.render.crd import crds as our_crds
from astroctl.targets.kubernetes import submission
from tests.astroctl.kubernetes.conftest import Cli, StandIn, claim, plain
from tests.kube.fixtures import UserMaker
from tests.kube.objects import eventually

SUBMIT = ("submit", "--target", "kubernetes")


def edit(file: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    data = yaml.safe_load(file.read_text())
    change(data)
    file.write_text(yaml.safe_dump(data))
    return file


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No operator runs in most of these tests."""
    monkeypatch.setattr(submission, "_ACCEPTED_SECONDS", 0.5)


def test_a_dry_run_says_what_would_be_and_leaves_nothing(
    cli: Cli, job_file: Path, kube: Kube, namespace: str, bucket: str
) -> None:
    result = cli("submit", "-f", job_file, "--target", "kubernetes", "--dry-run", "-o", "json")
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)
    assert data["target"] == "kubernetes"
    assert data["directory"] == f"{bucket}/{namespace}/small"
    assert data["rayJobs"] == ["small-0-1"]
    assert data["upload"]["missingFiles"] >= 3
    assert data["job"]["spec"]["stages"][0]["prepare"]["sources"][0]["path"].startswith(bucket)
    assert "would be uploaded" in result.stderr
    assert kube.list(ASTROJOB, namespace) == []


def test_submit_uploads_creates_and_is_known_without_the_target_from_then_on(
    cli: Cli, job_file: Path, stand_in: StandIn, namespace: str, bucket: str
) -> None:
    result = cli("submit", "train", "-f", job_file, "--target", "kubernetes")
    assert result.exit_code == 0, result.stderr
    assert "no operator" in result.stderr
    made = stand_in.get("small")
    paths = made["spec"]["stages"][0]["prepare"]["sources"][0]["path"]
    assert paths.startswith(f"{bucket}/.uploads/")
    assert "astrosage.io/stages" not in (made["metadata"].get("annotations") or {})
    status = cli("status", "small")
    assert status.exit_code == 0, status.stderr
    assert status.stdout.startswith(f"{namespace}/small: pending")
    listed = json.loads(cli("list", "-o", "json").stdout)
    assert [(r["name"], r["target"], r["phase"]) for r in listed] == [
        ("small", "kubernetes", "pending")
    ]


def test_submit_prepare_limits_the_stages(cli: Cli, job_file: Path, stand_in: StandIn) -> None:
    result = cli("submit", "prepare", "-f", job_file, "--target", "kubernetes")
    assert result.exit_code == 0, result.stderr
    assert stand_in.get("small")["metadata"]["annotations"] == {"astrosage.io/stages": "corpus"}


def test_a_second_submit_of_the_same_name_conflicts(cli: Cli, job_file: Path) -> None:
    assert cli(*SUBMIT, "-f", job_file).exit_code == 0
    again = cli(*SUBMIT, "-f", job_file)
    assert again.exit_code == 4
    assert "there is an AstroJob `small`" in again.stderr
    for word in ("resume", "delete", "metadata.name"):
        assert word in again.stderr


def test_a_changed_file_is_refused_with_its_fields_and_can_be_a_fork(
    cli: Cli, job_file: Path, stand_in: StandIn, namespace: str
) -> None:
    assert cli(*SUBMIT, "-f", job_file).exit_code == 0
    stand_in.tell("small", "Failed", stages=[{"name": "corpus", "phase": "finished"}])
    change = ("--set", "spec.stages.cpt.train.learningRate=0.5")
    refused = cli(*SUBMIT, "-f", job_file, *change)
    assert refused.exit_code == 4
    assert "spec.stages[cpt].train.learningRate: 2e-05 -> 0.5" in refused.stderr
    assert "--fork NEW" in refused.stderr
    fork = (*SUBMIT, "-f", job_file, *change, "--fork", "next")
    planned = json.loads(cli(*fork, "--dry-run", "-o", "json").stdout)
    assert {s["name"]: s["state"] for s in planned["stages"]} == {
        "corpus": "take over",
        "cpt": "run",
    }
    made = cli(*fork)
    assert made.exit_code == 0, made.stderr
    assert "takes over corpus" in made.stderr
    annotations = stand_in.get("next")["metadata"]["annotations"]
    assert annotations["astrosage.io/forked-from"] == f"{namespace}/small"


def test_a_fork_needs_the_job_that_it_is_of(cli: Cli, job_file: Path) -> None:
    result = cli(*SUBMIT, "-f", job_file, "--fork", "next")
    assert result.exit_code == 3
    assert "--fork: there is no AstroJob" in result.stderr


def test_a_job_that_the_operator_refuses_is_an_error_and_is_gone(
    cli: Cli,
    job_file: Path,
    stand_in: StandIn,
    kube: Kube,
    namespace: str,
    lease: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(submission, "_ACCEPTED_SECONDS", 20.0)

    def refuse() -> None:
        eventually(lambda: kube.find(ASTROJOB, "small", namespace))
        refusal = {"Accepted": ("False", "RunDirectoryTaken", "another job has it")}
        stand_in.tell("small", "Pending", conditions=refusal)

    thread = threading.Thread(target=refuse)
    thread.start()
    result = cli(*SUBMIT, "-f", job_file)
    thread.join()
    assert result.exit_code == 2
    assert "RunDirectoryTaken" in result.stderr
    assert "another job has it" in result.stderr
    assert kube.find(ASTROJOB, "small", namespace) is None


def test_namespace_comes_from_option_file_and_context_in_that_order(
    cli: Cli, job_file: Path, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def where(*more: str) -> str:
        result = cli(*SUBMIT, "-f", job_file, "--dry-run", "-o", "json", *more)
        if result.exit_code:
            return str(result.stderr)
        return str(json.loads(result.stdout)["job"]["metadata"]["namespace"])

    assert where("-n", "nowhere").startswith("error: metadata.namespace: there is no namespace")
    assert where() == namespace
    monkeypatch.delenv("ASTROCTL_NAMESPACE")
    assert where() == "default"
    edit(job_file, lambda d: d["metadata"].update(namespace=namespace))
    assert where() == namespace


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (
            lambda d: d["spec"].update(storage="/data/runs"),
            2,
            "spec.storage: `/data/runs` is a local path",
        ),
        (
            lambda d: d["spec"].update(cluster={"pool": "h100"}),
            3,
            "spec.cluster.pool: there is no GPUNodePool `h100`",
        ),
        (
            lambda d: d["spec"].update(cluster={"queue": "team"}),
            3,
            "spec.cluster.queue: there is no LocalQueue `team`",
        ),
        (
            lambda d: d["spec"].update(cluster={"kubernetes": {"envFromSecrets": ["credentials"]}}),
            3,
            "spec.cluster.kubernetes.envFromSecrets: there is no Secret `credentials`",
        ),
        (
            lambda d: d["spec"].update(cluster={"kubernetes": {"serviceAccount": "runner"}}),
            3,
            "spec.cluster.kubernetes.serviceAccount: there is no ServiceAccount `runner`",
        ),
        (
            lambda d: d["spec"].update(storage="pvc://data/runs"),
            3,
            "spec.storage: there is no PersistentVolumeClaim `data`",
        ),
        (
            lambda d: d["metadata"].update(name="a" * 41),
            2,
            "metadata.name",
        ),
        (
            lambda d: d["spec"]["stages"][0]["prepare"]["sources"].append({"path": "none/*.md"}),
            3,
            "spec.stages[0].prepare.sources[1]",
        ),
    ],
)
def test_what_is_missing_is_told_before_anything_is_created(
    cli: Cli,
    job_file: Path,
    kube: Kube,
    namespace: str,
    change: Callable[[dict[str, Any]], None],
    code: int,
    message: str,
) -> None:
    result = cli(*SUBMIT, "-f", edit(job_file, change))
    assert result.exit_code == code, result.stderr
    assert message in result.stderr
    assert "hint: " in result.stderr
    assert kube.list(ASTROJOB, namespace) == []


def test_a_secret_without_the_key_names_those_that_it_has(
    cli: Cli, job_file: Path, kube: Kube, namespace: str
) -> None:
    kube.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "hub", "namespace": namespace},
            "stringData": {"tokens": "not shown"},
        }
    )
    variable = {"name": "HF_TOKEN", "secret": {"name": "hub", "key": "token"}}
    edit(job_file, lambda d: d["spec"].update(cluster={"kubernetes": {"env": [variable]}}))
    result = cli(*SUBMIT, "-f", job_file)
    assert result.exit_code == 3
    assert "has no key `token`" in result.stderr
    assert "did you mean `tokens`?" in result.stderr
    assert "not shown" not in result.output


@pytest.mark.parametrize("mode", ["ReadOnlyMany", "ReadWriteOnce"])
def test_a_claim_that_the_runs_pods_cannot_share_is_refused(
    cli: Cli, job_file: Path, kube: Kube, namespace: str, mode: str
) -> None:
    kube.create(claim(namespace, "alone", mode))
    nodes = [f"{namespace}-{i}" for i in range(2)]
    edit(job_file, lambda d: d["spec"].update(storage="pvc://alone/runs"))
    for name in nodes:
        kube.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    try:
        result = cli(*SUBMIT, "-f", job_file)
    finally:
        for name in nodes:
            kube.delete(NODE, name)
    assert result.exit_code == 2
    assert f"PersistentVolumeClaim `alone` is {mode}" in result.stderr
    assert "ReadWriteMany" in result.stderr


def pool(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "astrosage.io/v1alpha1",
        "kind": "GPUNodePool",
        "metadata": {"name": name},
        "spec": {
            "driver": "karpenter",
            "reference": {"name": name},
            "maxNodes": 2,
            "gpusPerNode": 8,
            **spec,
        },
    }


def test_a_job_that_its_pool_cannot_hold_is_refused(
    cli: Cli, job_file: Path, kube: Kube, namespace: str, request: pytest.FixtureRequest
) -> None:
    name = f"pool-{namespace}"
    kube.create(pool(name))
    request.addfinalizer(lambda: kube.delete(POOL, name))
    cluster = {"workers": 32, "resourcesPerWorker": {"gpu": 1}, "pool": name}

    def change(data: dict[str, Any]) -> None:
        data["spec"]["cluster"] = cluster
        data["spec"]["stages"][1]["train"]["globalBatchSize"] = 32

    result = cli(*SUBMIT, "-f", edit(job_file, change))
    assert result.exit_code == 2
    assert "spec.cluster.workers: 32 workers need 4 nodes" in result.stderr
    assert "at most 2" in result.stderr


def test_fields_that_the_clusters_definition_does_not_know_are_an_error_unless_left_alone(
    cli: Cli, job_file: Path, kube: Kube, namespace: str
) -> None:
    ours = our_crds()[0]
    there = kube.get(CRD, "astrojobs.astrosage.io")
    older = json.loads(json.dumps(there))
    schema = older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["properties"]["spec"]["properties"]["retry"]
    kube.replace(older)
    try:
        told = eventually(lambda: is_older(cli, job_file))
        assert "older than this astroctl" in told
        edit(job_file, lambda d: d["spec"].update(retry={"maxFailures": 7}))
        result = cli(*SUBMIT, "-f", job_file, "--dry-run")
        assert result.exit_code == 5
        assert "does not know spec.retry" in result.stderr
    finally:
        now = kube.get(CRD, "astrojobs.astrosage.io")
        kube.replace({**now, "spec": ours["spec"] | {"conversion": now["spec"]["conversion"]}})
        edit(job_file, lambda d: d["spec"].pop("retry", None))
        eventually(lambda: not is_older(cli, job_file))


def is_older(cli: Cli, job_file: Path) -> str:
    said = cli(*SUBMIT, "-f", job_file, "--dry-run")
    assert said.exit_code == 0, said.stderr
    return str(said.stderr) if "older" in said.stderr else ""


def test_someone_who_may_only_make_jobs_can_submit(
    cli: Cli, job_file: Path, user: UserMaker, namespace: str, stand_in: StandIn
) -> None:
    rules = [{"apiGroups": ["astrosage.io"], "resources": ["astrojobs"], "verbs": ["*"]}]
    limited = user("limited", rules)
    result = cli(*SUBMIT, "-f", job_file, "--kubeconfig", limited)
    assert result.exit_code == 0, result.stderr
    assert stand_in.get("small")
    status = cli("status", "small")
    assert status.exit_code == 0, status.stderr


def test_someone_who_may_not_make_jobs_is_told(
    cli: Cli, job_file: Path, user: UserMaker, namespace: str
) -> None:
    rules = [{"apiGroups": ["astrosage.io"], "resources": ["astrojobs"], "verbs": ["get", "list"]}]
    result = cli(*SUBMIT, "-f", job_file, "--kubeconfig", user("reader", rules))
    assert result.exit_code == 5
    assert "cannot create resource" in result.stderr
    assert "doctor --target kubernetes" in result.stderr


def test_an_expired_token_is_told(
    cli: Cli, job_file: Path, plane: Any, tmp_path: Path, namespace: str
) -> None:
    expired = plane.kubeconfig_for(tmp_path / "expired", "no.such.token", namespace)
    result = cli(*SUBMIT, "-f", job_file, "--kubeconfig", expired)
    assert result.exit_code == 5
    assert "does not accept the credentials" in result.stderr
    assert "log in again" in result.stderr


def test_no_kubeconfig_and_no_such_context(
    cli: Cli, job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = cli(*SUBMIT, "-f", job_file, "--context", "other")
    assert context.exit_code == 3
    assert "other" in context.stderr
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    missing = cli(*SUBMIT, "-f", job_file)
    assert missing.exit_code == 3
    assert "no usable kubeconfig" in missing.stderr


def test_only_goes_on_with_the_job_that_is_there(
    cli: Cli, job_file: Path, stand_in: StandIn
) -> None:
    assert cli("submit", "prepare", "-f", job_file, "--target", "kubernetes").exit_code == 0
    stand_in.tell("small", "Succeeded", stages=[{"name": "corpus", "phase": "finished"}])
    only = ("submit", "train", "-f", job_file, "--target", "kubernetes", "--only", "cpt")
    result = cli(*only)
    assert result.exit_code == 0, result.stderr
    assert stand_in.get("small")["metadata"]["annotations"]["astrosage.io/stages"] == "cpt"


def test_a_bench_is_an_astrojob_too(
    cli: Cli, tmp_path: Path, stand_in: StandIn, tiny_model: Path, bucket: str, namespace: str
) -> None:
    questions = tmp_path / "quiz.jsonl"
    one = {"id": "1", "question": "What is hot?", "choices": ["ice", "fire"], "answer": "B"}
    questions.write_text(json.dumps(one) + "\n")
    result = cli(
        *("bench", tiny_model, "--questions", questions, "--storage", bucket, "--name", "quiz"),
        *("--target", "kubernetes", "--no-follow"),
    )
    assert result.exit_code == 0, result.stderr
    stage = stand_in.get("quiz")["spec"]["stages"][0]
    assert stage["bench"]["model"].startswith(bucket)
    assert stage["bench"]["questions"][0]["path"].startswith(bucket)


def test_rayjobs_are_not_created_by_the_command_line(
    cli: Cli, job_file: Path, kube: Kube, namespace: str
) -> None:
    assert cli(*SUBMIT, "-f", job_file).exit_code == 0
    assert kube.list(RAYJOB, namespace) == []


def test_a_job_made_by_others_is_found_in_the_cluster(
    cli: Cli, stand_in: StandIn, namespace: str
) -> None:
    stand_in.create(plain("theirs"))
    unknown = cli("status", "theirs")
    assert unknown.exit_code == 3
    assert "--target kubernetes" in unknown.stderr
    found = cli("status", "theirs", "--target", "kubernetes")
    assert found.exit_code == 0, found.stderr
    assert f"s3://bucket/runs/{namespace}/theirs" in found.stdout
    near = cli("status", "thiers", "--target", "kubernetes")
    assert near.exit_code == 3
    assert "did you mean `theirs`?" in near.stderr
