"""What holds of every rendered manifest."""

from __future__ import annotations

import base64
import copy
import json
import os
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, example, given
from hypothesis import settings as how
from hypothesis import strategies as st

from astroctl.render import names
from astroctl.render.environment import JOB
from astroctl.render.extras import disruption_budgets, token_secret
from astroctl.render.groups import groups
from astroctl.render.linter import lint
from astroctl.render.rayjob import rayjob
from astroctl.render.settings import Settings
from astroctl.render.text import dump
from astrosage.spec.job import AstroJob
from astrosage.spec.load import load, parse
from astrosage.spec.pool import GPUNodePool
from tests.astroctl.render import schema, strategies
from tests.astroctl.render.reference import SPOT_H100, UID

_FOLDER = Path(__file__).parents[3] / "examples"
_EXAMPLES = sorted(f for f in _FOLDER.glob("*.yaml") if f.name != "pools.yaml")


def _with_dollars() -> AstroJob:
    job = SPOT_H100.job.model_copy(deep=True)
    job.spec.stages[0].prepare.sources[0].path = "s3://texts/$HOME/${PATH}"
    return job


_quick = how(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def rendered(
    job: AstroJob, settings: Settings, pool: GPUNodePool | None, attempt: int = 1
) -> list[dict[str, Any]]:
    owner = names.owner_reference(job.metadata.name, UID)
    return [
        rayjob(job, group, attempt, settings=settings, pool=pool, owner=owner, job_uid=UID)
        for group in groups(job)
    ]


def containers(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [c for pod in pods(manifest) for c in pod["containers"]]


def pods(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = manifest["spec"]["rayClusterSpec"]
    found = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in found]


@_quick
@given(strategies.jobs(), strategies.settings, st.none() | strategies.pools)
def test_generated_jobs_are_valid(
    job: AstroJob, settings: Settings, pool: GPUNodePool | None
) -> None:
    for manifest in rendered(job, settings, pool):
        schema.check(manifest)
        assert lint(manifest) == []


def test_examples_are_valid() -> None:
    assert _EXAMPLES
    for file in _EXAMPLES:
        job = load(file)
        job.spec.storage = "pvc://runs"
        for manifest in rendered(job, Settings(), None):
            schema.check(manifest)
            assert lint(manifest) == []


@_quick
@given(strategies.jobs(), strategies.settings, st.none() | strategies.pools)
def test_there_is_room_for_all_workers(
    job: AstroJob, settings: Settings, pool: GPUNodePool | None
) -> None:
    for group, manifest in zip(groups(job), rendered(job, settings, pool), strict=True):
        cluster, each = group.cluster, group.cluster.resources_per_worker
        (workers,) = manifest["spec"]["rayClusterSpec"]["workerGroupSpecs"]
        cpus, gpus = (int(workers["rayStartParams"][f"num-{k}s"]) for k in ("cpu", "gpu"))
        in_pod = min(
            int(cpus / each.cpu + 1e-6), int(gpus / each.gpu + 1e-6) if each.gpu else 10**9
        )
        assert workers["maxReplicas"] * in_pod >= cluster.max_workers
        assert workers["minReplicas"] * in_pod >= cluster.min_workers
        assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]


@_quick
@given(strategies.jobs(), strategies.settings, st.none() | strategies.pools, st.integers(1, 999))
def test_names_are_within_limits(
    job: AstroJob, settings: Settings, pool: GPUNodePool | None, attempt: int
) -> None:
    for group, manifest in zip(groups(job), rendered(job, settings, pool, attempt), strict=True):
        name = manifest["metadata"]["name"]
        assert name == f"{job.metadata.name}-{group.index}-{attempt}"
        assert name == manifest["spec"]["jobId"]
        for value in manifest["metadata"]["labels"].values():
            assert len(value) <= 63
        for budget in disruption_budgets(job, group, pool=pool):
            assert len(budget["metadata"]["name"]) <= 63


@_quick
@given(strategies.jobs(), strategies.settings, st.none() | strategies.pools)
def test_rendering_is_deterministic_and_survives_yaml(
    job: AstroJob, settings: Settings, pool: GPUNodePool | None
) -> None:
    before = copy.deepcopy((job, settings, pool))
    made = rendered(job, settings, pool)
    assert made == rendered(*before)
    assert (job, settings, pool) == before, "rendering changes nothing that it was given"
    assert yaml.safe_load(dump(made[:1])) == made[0]
    assert json.loads(json.dumps(made)) == made


@_quick
@example(job=_with_dollars())
@given(strategies.jobs())
def test_the_driver_reads_the_same_job(job: AstroJob) -> None:
    for manifest in rendered(job, Settings(), None):
        env = yaml.safe_load(manifest["spec"]["runtimeEnvYAML"])["env_vars"]
        assert all(isinstance(value, str) for value in env.values())
        assert os.path.expandvars(env[JOB]) == env[JOB], "Ray expands variables"
        read = parse(json.loads(env[JOB]))
        assert read.spec == job.spec
        assert read.key == job.key


@_quick
@given(strategies.jobs(), strategies.settings, st.none() | strategies.pools)
def test_pods_are_restricted(job: AstroJob, settings: Settings, pool: GPUNodePool | None) -> None:
    network = bool(pool and pool.spec.network.resources and settings.ipc_lock)
    for manifest in rendered(job, settings, pool):
        options = manifest["spec"]["rayClusterSpec"].get("autoscalerOptions")
        for pod in pods(manifest):
            context = pod["securityContext"]
            assert context["runAsNonRoot"] is True
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}
            assert pod["automountServiceAccountToken"] is False
            assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
            assert not any("hostPath" in v for v in pod["volumes"])
        for container in [*containers(manifest), *([options] if options else [])]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"]["drop"] == ["ALL"]
            added = context["capabilities"].get("add", [])
            assert added == [] or (added == ["IPC_LOCK"] and network)


@_quick
@given(strategies.jobs(), strategies.settings, st.none() | strategies.pools)
def test_memory_is_never_promised_twice(
    job: AstroJob, settings: Settings, pool: GPUNodePool | None
) -> None:
    for manifest in rendered(job, settings, pool):
        for container in containers(manifest):
            resources = container["resources"]
            asked, limits = resources["requests"], resources.get("limits", {})
            assert {k: v for k, v in asked.items() if k != "cpu"} == {
                k: v for k, v in limits.items() if k != "cpu"
            }
            assert ("cpu" in limits) == settings.cpu_limits


def test_the_token_is_in_its_secret_only() -> None:
    job, token = SPOT_H100.job, "a-very-secret-token"
    secret = token_secret(job, token)
    text = dump(rendered(job, Settings(), None))
    assert token not in text
    assert secret["data"]["auth_token"] not in text
    assert secret["metadata"]["name"] in text
    assert base64.b64decode(secret["data"]["auth_token"]).decode() == token
