"""Every rule with an example that breaks it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from astroctl.render.groups import groups
from astroctl.render.linter import lint
from astroctl.render.problems import Problem, refuse
from astroctl.render.rayjob import rayjob
from astrosage.errors import SpecError
from tests.astroctl.render.reference import CPU_ON_A_CLAIM, ELASTIC_IN_A_QUEUE, Reference

Change = Callable[[dict[str, Any]], object]
_LONG = "a" * 48


def rendered(reference: Reference) -> dict[str, Any]:
    (group,) = groups(reference.job)
    return rayjob(reference.job, group, 1, settings=reference.settings)


FIXED, ELASTIC = rendered(CPU_ON_A_CLAIM), rendered(ELASTIC_IN_A_QUEUE)


def cluster(manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest["spec"].get("rayClusterSpec") or manifest["spec"]["rayClusterConfig"]


def head(manifest: dict[str, Any]) -> dict[str, Any]:
    return cluster(manifest)["headGroupSpec"]


def workers(manifest: dict[str, Any]) -> dict[str, Any]:
    return cluster(manifest)["workerGroupSpecs"][0]


def pod(manifest: dict[str, Any]) -> dict[str, Any]:
    return workers(manifest)["template"]["spec"]


def ray(group: dict[str, Any]) -> dict[str, Any]:
    return group["template"]["spec"]["containers"][0]


def spec(**fields: Any) -> Change:
    return lambda m: m["spec"].update(fields)


def in_cluster(**fields: Any) -> Change:
    return lambda m: cluster(m).update(fields)


def in_workers(**fields: Any) -> Change:
    return lambda m: workers(m).update(fields)


def head_variable(name: str, value: str = "1") -> Change:
    return lambda m: ray(head(m))["env"].append({"name": name, "value": value})


def annotated(key: str, value: str) -> Change:
    return lambda m: m["metadata"]["annotations"].update({key: value})


def both(*changes: Change) -> Change:
    return lambda m: [change(m) for change in changes]


def selected(**more: Any) -> Change:
    """A RayJob on a cluster that is there already."""
    return both(
        lambda m: m["spec"].pop("rayClusterSpec"),
        spec(clusterSelector={"ray.io/cluster": "there"}, **more),
    )


def rules(*found: tuple[str, str, int]) -> list[dict[str, Any]]:
    return [
        {"policy": policy, "condition": {"jobStatus": status, "ttlSeconds": ttl}}
        for policy, status, ttl in found
    ]


def deletion(*found: dict[str, Any], **more: Any) -> Change:
    return both(
        spec(shutdownAfterJobFinishes=False, ttlSecondsAfterFinished=0),
        spec(deletionStrategy={"deletionRules": list(found), **more}),
    )


_S, _C = "spec", "spec.rayClusterSpec"
_FT = f"{_C}.gcsFaultToleranceOptions"
_CASES: dict[str, tuple[dict[str, Any], Change, str]] = {
    "long name": (FIXED, lambda m: m["metadata"].update(name=_LONG), "metadata.name"),
    "digit first": (FIXED, lambda m: m["metadata"].update(name="1a"), "metadata.name"),
    "capital": (FIXED, lambda m: m["metadata"].update(name="aB"), "metadata.name"),
    "suspend": (FIXED, spec(suspend=True, shutdownAfterJobFinishes=False), f"{_S}.suspend"),
    "suspend selected": (FIXED, selected(suspend=True), f"{_S}.suspend"),
    "ttl alone": (
        FIXED,
        spec(shutdownAfterJobFinishes=False),
        f"{_S}.ttlSecondsAfterFinished",
    ),
    "ttl negative": (
        FIXED,
        spec(ttlSecondsAfterFinished=-1),
        f"{_S}.ttlSecondsAfterFinished",
    ),
    "deadline": (FIXED, spec(activeDeadlineSeconds=0), f"{_S}.activeDeadlineSeconds"),
    "start deadline": (
        FIXED,
        spec(preRunningDeadlineSeconds=0),
        f"{_S}.preRunningDeadlineSeconds",
    ),
    "backoff": (FIXED, spec(backoffLimit=-1), f"{_S}.backoffLimit"),
    "mode": (FIXED, spec(submissionMode="Magic"), f"{_S}.submissionMode"),
    "no entrypoint": (FIXED, spec(entrypoint=""), f"{_S}.entrypoint"),
    "no cluster": (FIXED, lambda m: m["spec"].pop("rayClusterSpec"), _C),
    "two clusters": (FIXED, spec(clusterSelector={"ray.io/cluster": "x"}), _C),
    "selector's label": (
        FIXED,
        both(selected(), spec(clusterSelector={"other": "x"})),
        f"{_S}.clusterSelector",
    ),
    "selector and sidecar": (
        FIXED,
        selected(submissionMode="SidecarMode"),
        f"{_S}.clusterSelector",
    ),
    "selector and retries": (FIXED, selected(backoffLimit=1), f"{_S}.backoffLimit"),
    "interactive retries": (
        FIXED,
        spec(submissionMode="InteractiveMode", backoffLimit=1),
        f"{_S}.backoffLimit",
    ),
    "sidecar's pod": (
        FIXED,
        spec(submissionMode="SidecarMode", submitterPodTemplate={}),
        f"{_S}.submitterPodTemplate",
    ),
    "sidecar's head": (
        FIXED,
        both(
            spec(submissionMode="SidecarMode"),
            lambda m: head(m)["template"]["spec"].update(restartPolicy="Always"),
        ),
        f"{_C}.headGroupSpec.template.spec.restartPolicy",
    ),
    "runtime env": (FIXED, spec(runtimeEnvYAML="a: ["), f"{_S}.runtimeEnvYAML"),
    "runtime env's kind": (FIXED, spec(runtimeEnvYAML="[1]"), f"{_S}.runtimeEnvYAML"),
    "variable's kind": (
        FIXED,
        spec(runtimeEnvYAML="env_vars: {A: 1}"),
        f"{_S}.runtimeEnvYAML.env_vars.A",
    ),
    "rules and shutdown": (
        FIXED,
        spec(deletionStrategy={"deletionRules": rules(("DeleteSelf", "FAILED", 0))}),
        f"{_S}.deletionStrategy.deletionRules",
    ),
    "rules and the old form": (
        FIXED,
        deletion(
            *rules(("DeleteSelf", "FAILED", 0)),
            onSuccess={"policy": "DeleteSelf"},
            onFailure={"policy": "DeleteSelf"},
        ),
        f"{_S}.deletionStrategy.deletionRules",
    ),
    "no rules": (FIXED, deletion(), f"{_S}.deletionStrategy"),
    "half of the old form": (
        FIXED,
        deletion(onSuccess={"policy": "DeleteSelf"}),
        f"{_S}.deletionStrategy",
    ),
    "negative rule": (
        FIXED,
        deletion(*rules(("DeleteSelf", "FAILED", -1))),
        f"{_S}.deletionStrategy.deletionRules[0].condition.ttlSeconds",
    ),
    "rule of no state": (
        FIXED,
        deletion({"policy": "DeleteSelf", "condition": {}}),
        f"{_S}.deletionStrategy.deletionRules[0].condition",
    ),
    "rule twice": (
        FIXED,
        deletion(*rules(("DeleteSelf", "FAILED", 0), ("DeleteSelf", "FAILED", 1))),
        f"{_S}.deletionStrategy.deletionRules[1].policy",
    ),
    "rules in a wrong order": (
        FIXED,
        deletion(*rules(("DeleteCluster", "FAILED", 9), ("DeleteSelf", "FAILED", 1))),
        f"{_S}.deletionStrategy.deletionRules",
    ),
    "workers of an autoscaler": (
        ELASTIC,
        both(
            lambda m: m["metadata"]["labels"].pop("kueue.x-k8s.io/queue-name"),
            deletion(*rules(("DeleteWorkers", "FAILED", 0))),
        ),
        f"{_S}.deletionStrategy.deletionRules[0].policy",
    ),
    "queue without shutdown": (
        ELASTIC,
        spec(shutdownAfterJobFinishes=False, ttlSecondsAfterFinished=0),
        "metadata.labels[kueue.x-k8s.io/queue-name]",
    ),
    "queue and autoscaling": (
        ELASTIC,
        lambda m: m["metadata"]["annotations"].pop("kueue.x-k8s.io/elastic-job"),
        f"{_C}.enableInTreeAutoscaling",
    ),
    "queue's head": (
        ELASTIC,
        in_workers(groupName="head"),
        f"{_C}.workerGroupSpecs[0].groupName",
    ),
    "kubernetes tokens": (
        FIXED,
        lambda m: cluster(m)["authOptions"].update(enableK8sTokenAuth=True),
        f"{_C}.authOptions.enableK8sTokenAuth",
    ),
    "upgrade of a job": (
        FIXED,
        in_cluster(upgradeStrategy={"type": "Recreate"}),
        f"{_C}.upgradeStrategy",
    ),
    "old Ray": (FIXED, in_cluster(rayVersion="2.51.1"), f"{_C}.rayVersion"),
    "no Ray": (FIXED, in_cluster(rayVersion=""), f"{_C}.rayVersion"),
    "no container": (
        FIXED,
        lambda m: pod(m).update(containers=[]),
        f"{_C}.workerGroupSpecs[0].template.spec.containers",
    ),
    "resources twice": (
        FIXED,
        in_workers(resources={"CPU": "1"}),
        f"{_C}.workerGroupSpecs[0].resources",
    ),
    "labels of ray start": (
        FIXED,
        lambda m: workers(m)["rayStartParams"].update(labels="a=b"),
        f"{_C}.workerGroupSpecs[0].rayStartParams.labels",
    ),
    "label's value": (
        FIXED,
        in_workers(labels={"a": "b c"}),
        f"{_C}.workerGroupSpecs[0].labels[a]",
    ),
    "label's key": (
        FIXED,
        lambda m: head(m)["template"]["metadata"]["labels"].update({"a b": "c"}),
        f"{_C}.headGroupSpec.template.metadata.labels[a b]",
    ),
    "no bounds": (
        FIXED,
        lambda m: workers(m).pop("maxReplicas"),
        f"{_C}.workerGroupSpecs[0]",
    ),
    "bounds": (
        ELASTIC,
        in_workers(minReplicas=9),
        f"{_C}.workerGroupSpecs[0].minReplicas",
    ),
    "replicas": (ELASTIC, in_workers(replicas=9), f"{_C}.workerGroupSpecs[0].replicas"),
    "group's name": (
        FIXED,
        lambda m: cluster(m)["workerGroupSpecs"].append(copy.deepcopy(workers(m))),
        f"{_C}.workerGroupSpecs[1].groupName",
    ),
    "restarted": (
        ELASTIC,
        lambda m: pod(m).update(restartPolicy="Always"),
        f"{_C}.workerGroupSpecs[0].template.spec.restartPolicy",
    ),
    "restarted head": (
        ELASTIC,
        lambda m: head(m)["template"]["spec"].update(restartPolicy="OnFailure"),
        f"{_C}.headGroupSpec.template.spec.restartPolicy",
    ),
    "idle group": (
        FIXED,
        in_workers(idleTimeoutSeconds=5),
        f"{_C}.workerGroupSpecs[0].idleTimeoutSeconds",
    ),
    "group's priority": (
        ELASTIC,
        both(in_workers(priority=5), in_cluster(rayVersion="2.55.0")),
        f"{_C}.workerGroupSpecs[0].priority",
    ),
    "suspended group": (
        ELASTIC,
        in_workers(suspend=True),
        f"{_C}.workerGroupSpecs[0].suspend",
    ),
    "autoscaler's variable": (
        FIXED,
        head_variable("RAY_enable_autoscaler_v2"),
        f"{_C}.enableInTreeAutoscaling",
    ),
    "autoscaler's version twice": (
        ELASTIC,
        head_variable("RAY_enable_autoscaler_v2"),
        f"{_C}.autoscalerOptions.version",
    ),
    "redis": (FIXED, head_variable("RAY_REDIS_ADDRESS", "redis:6379"), _FT),
    "redis user": (FIXED, head_variable("REDIS_USERNAME"), f"{_FT}.redisUsername"),
    "fault tolerance twice": (
        FIXED,
        both(
            in_cluster(gcsFaultToleranceOptions={"redisAddress": "r"}),
            annotated("ray.io/ft-enabled", "true"),
        ),
        _FT,
    ),
    "redis password": (
        FIXED,
        both(
            in_cluster(gcsFaultToleranceOptions={"redisAddress": "r"}),
            head_variable("REDIS_PASSWORD"),
        ),
        f"{_FT}.redisPassword",
    ),
    "redis address": (
        FIXED,
        both(
            in_cluster(gcsFaultToleranceOptions={"redisAddress": "r"}),
            head_variable("RAY_REDIS_ADDRESS"),
        ),
        f"{_FT}.redisAddress",
    ),
    "redis namespace": (
        FIXED,
        both(
            in_cluster(gcsFaultToleranceOptions={"redisAddress": "r"}),
            annotated("ray.io/external-storage-namespace", "x"),
        ),
        f"{_FT}.externalStorageNamespace",
    ),
    "volume twice": (
        FIXED,
        lambda m: pod(m)["volumes"].append({"name": "ray-logs", "emptyDir": {}}),
        f"{_C}.workerGroupSpecs[0].template.spec.volumes",
    ),
    "mounted twice": (
        FIXED,
        lambda m: ray(workers(m))["volumeMounts"].append(
            {"name": "ray-logs", "mountPath": "/dev/shm"}
        ),
        f"{_C}.workerGroupSpecs[0].template.spec.containers[0].volumeMounts",
    ),
    "no such volume": (
        FIXED,
        lambda m: ray(workers(m))["volumeMounts"].append({"name": "x", "mountPath": "/x"}),
        f"{_C}.workerGroupSpecs[0].template.spec.containers[0].volumeMounts",
    ),
    "variable twice": (
        FIXED,
        both(head_variable("A"), head_variable("A")),
        f"{_C}.headGroupSpec.template.spec.containers[0].env",
    ),
    "KubeRay's variable": (
        FIXED,
        head_variable("RAY_CLUSTER_NAME"),
        f"{_C}.headGroupSpec.template.spec.containers[0].env",
    ),
    "more than the limit": (
        FIXED,
        lambda m: ray(workers(m))["resources"]["requests"].update(memory="7Gi"),
        f"{_C}.workerGroupSpecs[0].template.spec.containers[0].resources.requests",
    ),
    "shared device": (
        ELASTIC,
        lambda m: ray(workers(m))["resources"]["limits"].update({"nvidia.com/gpu": "2"}),
        f"{_C}.workerGroupSpecs[0].template.spec.containers[0].resources.requests",
    ),
    "unlimited device": (
        ELASTIC,
        lambda m: ray(workers(m))["resources"]["limits"].pop("nvidia.com/gpu"),
        f"{_C}.workerGroupSpecs[0].template.spec.containers[0].resources.limits",
    ),
    "no quantity": (
        FIXED,
        lambda m: ray(workers(m))["resources"]["limits"].update(memory="much"),
        f"{_C}.workerGroupSpecs[0].template.spec.containers[0].resources",
    ),
    "shared memory": (
        FIXED,
        lambda m: pod(m)["volumes"][0]["emptyDir"].update(sizeLimit="6Gi"),
        f"{_C}.workerGroupSpecs[0].template.spec.volumes[shared-memory].emptyDir.sizeLimit",
    ),
}


@pytest.mark.parametrize("case", _CASES)
def test_a_broken_rule_is_found(case: str) -> None:
    base, change, path = _CASES[case]
    manifest = copy.deepcopy(base)
    assert lint(manifest) == []
    change(manifest)
    found = lint(manifest)
    assert path in [p.path for p in found]
    assert all(p.message for p in found)


def service() -> dict[str, Any]:
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": "chat", "namespace": "science", "annotations": {}},
        "spec": {
            "serveConfigV2": "applications: [{name: chat, import_path: ray_jobs.serve:app}]",
            "rayClusterConfig": copy.deepcopy(cluster(ELASTIC)),
        },
    }


def upgrade(**options: Any) -> Change:
    whole = {
        "maxSurgePercent": 50,
        "stepSizePercent": 10,
        "intervalSeconds": 5,
        "gatewayClassName": "istio",
    }
    strategy = {
        "type": "NewClusterWithIncrementalUpgrade",
        "clusterUpgradeOptions": {**whole, **options},
    }
    return spec(upgradeStrategy=strategy)


_OPTIONS = "spec.upgradeStrategy.clusterUpgradeOptions"
_SERVICE_CASES: dict[str, tuple[Change, str]] = {
    "name": (lambda m: m["metadata"].update(name=_LONG), "metadata.name"),
    "timeout": (
        annotated("ray.io/initializing-timeout", "soon"),
        "metadata.annotations[ray.io/initializing-timeout]",
    ),
    "no timeout": (
        annotated("ray.io/initializing-timeout", "0s"),
        "metadata.annotations[ray.io/initializing-timeout]",
    ),
    "no cluster": (lambda m: m["spec"].pop("rayClusterConfig"), "spec.rayClusterConfig"),
    "head service": (
        lambda m: head(m).update(headService={"metadata": {"name": "x"}}),
        "spec.rayClusterConfig.headGroupSpec.headService.metadata.name",
    ),
    "cluster's upgrade": (
        in_cluster(upgradeStrategy={"type": "None"}),
        "spec.rayClusterConfig.upgradeStrategy",
    ),
    "kubernetes tokens": (
        lambda m: cluster(m)["authOptions"].update(enableK8sTokenAuth=True),
        "spec.rayClusterConfig.authOptions.enableK8sTokenAuth",
    ),
    "delay": (
        spec(rayClusterDeletionDelaySeconds=-1),
        "spec.rayClusterDeletionDelaySeconds",
    ),
    "serve": (spec(serveConfigV2="x: 1"), "spec.serveConfigV2"),
    "serve's YAML": (spec(serveConfigV2="a: ["), "spec.serveConfigV2"),
    "upgrade": (spec(upgradeStrategy={"type": "Slow"}), "spec.upgradeStrategy.type"),
    "fixed size": (
        both(upgrade(), in_cluster(enableInTreeAutoscaling=False)),
        "spec.upgradeStrategy.type",
    ),
    "no options": (
        spec(upgradeStrategy={"type": "NewClusterWithIncrementalUpgrade"}),
        _OPTIONS,
    ),
    "surge": (upgrade(maxSurgePercent=101), f"{_OPTIONS}.maxSurgePercent"),
    "step": (upgrade(stepSizePercent=None), f"{_OPTIONS}.stepSizePercent"),
    "step over surge": (upgrade(stepSizePercent=60), f"{_OPTIONS}.stepSizePercent"),
    "interval": (upgrade(intervalSeconds=0), f"{_OPTIONS}.intervalSeconds"),
    "gateway": (upgrade(gatewayClassName=""), f"{_OPTIONS}.gatewayClassName"),
}


@pytest.mark.parametrize("case", _SERVICE_CASES)
def test_a_broken_rule_of_a_service_is_found(case: str) -> None:
    change, path = _SERVICE_CASES[case]
    manifest = service()
    assert lint(manifest) == []
    change(manifest)
    assert path in [p.path for p in lint(manifest)]


def test_what_is_allowed_is_not_complained_of() -> None:
    manifest = service()
    upgrade()(manifest)
    annotated("ray.io/initializing-timeout", "1h30m")(manifest)
    assert lint(manifest) == []
    manifest = copy.deepcopy(FIXED)
    deletion(*rules(("DeleteCluster", "FAILED", 1), ("DeleteSelf", "FAILED", 9)))(manifest)
    assert lint(manifest) == []
    manifest = copy.deepcopy(FIXED)
    selected()(manifest)
    assert lint(manifest) == []


def test_other_kinds_are_refused() -> None:
    with pytest.raises(SpecError, match="Deployment"):
        lint({"kind": "Deployment"})


def test_problems_are_raised_together() -> None:
    refuse([])
    with pytest.raises(SpecError) as one:
        refuse([Problem("spec.a", "is wrong", "mend it")])
    assert (one.value.message, one.value.hint) == ("spec.a: is wrong", "mend it")
    with pytest.raises(SpecError, match=r"2 problems:\n  spec.a: is wrong\n  spec.b: too"):
        refuse([Problem("spec.a", "is wrong"), Problem("spec.b", "too")])
