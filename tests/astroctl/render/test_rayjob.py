"""What a RayJob says, by example."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from astroctl.render.groups import groups
from astroctl.render.names import owner_reference
from astroctl.render.rayjob import rayjob
from astroctl.render.settings import Settings
from astrosage.errors import SpecError
from astrosage.spec.job import AstroJob
from astrosage.spec.kubernetes import Head
from astrosage.spec.pool import GPUNodePool
from tests.astroctl.render.reference import ELASTIC_IN_A_QUEUE, SPOT_H100, UID, small


def made(
    job: AstroJob, settings: Settings | None = None, group: int = 0, **more: Any
) -> dict[str, Any]:
    return rayjob(job, groups(job)[group], 1, settings=settings or Settings(), **more)


def head(manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]


def worker(manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]


def env(template: dict[str, Any]) -> dict[str, Any]:
    entries = template["spec"]["containers"][0]["env"]
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in entries}


def runtime_env(manifest: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = yaml.safe_load(manifest["spec"]["runtimeEnvYAML"])["env_vars"]
    return found


def test_the_driver_is_told_what_to_do() -> None:
    job = SPOT_H100.job
    owner = owner_reference(job.metadata.name, UID)
    found = rayjob(job, groups(job)[1], 3, settings=Settings(), owner=owner, job_uid=UID)
    assert found["metadata"]["name"] == found["spec"]["jobId"] == "astrosage-8b-1-3"
    assert found["metadata"]["ownerReferences"] == [owner]
    assert found["spec"]["entrypoint"] == (
        "python -m ray_jobs.pipeline s3://astro-runs/prod/science/astrosage-8b "
        "--stages cpt,score --attempt 3"
    )
    assert runtime_env(found)["ASTROSAGE_JOB_UID"] == UID
    handed = json.loads(runtime_env(found)["ASTROSAGE_JOB"])
    assert handed["metadata"] == {"name": "astrosage-8b", "namespace": "science"}


def test_the_driver_knows_the_storage_that_the_job_has() -> None:
    job = small()
    job.spec.storage = "./runs"
    found = made(job, Settings(storage="pvc://shared"))
    assert json.loads(runtime_env(found)["ASTROSAGE_JOB"])["spec"]["storage"] == "pvc://shared"


def test_a_path_with_spaces_stays_one_word() -> None:
    job = small()
    job.spec.storage = "pvc://runs/my runs; rm -rf"
    assert "'/astrosage/storage/my runs; rm -rf/science/small'" in made(job)["spec"]["entrypoint"]


def test_a_job_that_is_too_large_is_told() -> None:
    job = small()
    job.spec.stages[0].prepare.sources[0].path = "s3://texts/" + "x" * 130_000
    with pytest.raises(SpecError, match="129 KiB as Ray writes it, at most 120 KiB"):
        made(job)


def test_workers_are_waited_for_as_long_as_their_pool_boots() -> None:
    name = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
    pool = SPOT_H100.pools["h100-spot"]
    assert runtime_env(made(SPOT_H100.job, group=1))[name] == "600"
    assert runtime_env(made(SPOT_H100.job, group=1, pool=pool))[name] == "1800"
    longer = Settings(ray_start_timeout=3000)
    assert runtime_env(made(SPOT_H100.job, longer, group=1, pool=pool))[name] == "3000"


def test_a_stop_gets_time_for_a_checkpoint() -> None:
    found = made(small(kubernetes={"terminationGraceSeconds": 300}))
    assert runtime_env(found)["ASTROSAGE_STOP_GRACE_SECONDS"] == "300"
    assert int(env(head(found))["RAY_JOB_STOP_WAIT_TIME_S"]) > 300
    assert worker(found)["spec"]["terminationGracePeriodSeconds"] == 300
    assert "preStop" in worker(found)["spec"]["containers"][0]["lifecycle"]
    assert "lifecycle" not in head(found)["spec"]["containers"][0]
    for template in (head(found), worker(found)):
        assert env(template)["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] == "0"


def test_a_short_grace_has_no_hook() -> None:
    found = made(small(kubernetes={"terminationGraceSeconds": 0}))
    assert worker(found)["spec"]["terminationGracePeriodSeconds"] == 10
    assert "lifecycle" not in worker(found)["spec"]["containers"][0]


def test_pods_of_a_pool_go_to_its_nodes() -> None:
    found = made(SPOT_H100.job, group=1, pool=SPOT_H100.pools["h100-spot"])
    spec = worker(found)["spec"]
    assert spec["nodeSelector"]["capacity"] == "spot"
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in spec[
        "tolerations"
    ]
    assert env(worker(found))["FI_PROVIDER"] == "efa"
    container = spec["containers"][0]
    assert container["resources"]["limits"]["vpc.amazonaws.com/efa"] == "32"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "8"
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["IPC_LOCK"]}
    assert worker(found)["metadata"]["labels"]["astrosage.io/pool"] == "h100-spot"
    assert "astrosage.io/pool" not in head(found)["metadata"]["labels"]
    assert "tolerations" not in head(found)["spec"]


def test_a_pool_without_labels_is_known_by_its_own() -> None:
    pool = _pool(name="plain")
    spec = worker(made(small(), pool=pool))["spec"]
    assert spec["nodeSelector"] == {"astrosage.io/pool": "plain"}


def test_pods_may_go_to_a_fallback_that_is_alike() -> None:
    spot = _pool(name="spot", spot=True, fallback="demand", nodeSelector={"capacity": "spot"})
    demand = _pool(
        name="demand", nodeSelector={"capacity": "demand"}, tolerations=[{"key": "reserved"}]
    )
    spec = worker(made(small(), pool=spot, fallback=demand))["spec"]
    affinity = spec["affinity"]["nodeAffinity"]
    required = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [t["matchExpressions"][0]["values"] for t in required] == [["spot"], ["demand"]]
    (preferred,) = affinity["preferredDuringSchedulingIgnoredDuringExecution"]
    assert preferred["preference"] == required[0]
    assert "nodeSelector" not in spec
    assert {"key": "reserved", "operator": "Exists"} in spec["tolerations"]


@pytest.mark.parametrize(
    "other",
    [{"gpuResource": "amd.com/gpu"}, {"gpusPerNode": 4}, {"network": {"resources": {"rdma/x": 1}}}],
)
def test_a_fallback_that_is_not_alike_is_left_out(other: dict[str, Any]) -> None:
    spot = _pool(name="spot", fallback="demand")
    spec = worker(made(small(), pool=spot, fallback=_pool(name="demand", **other)))["spec"]
    assert spec["nodeSelector"] == {"astrosage.io/pool": "spot"}


def test_azures_spot_nodes_are_tolerated() -> None:
    aks = {"name": "x", "cluster": "c", "subscription": "s", "resourceGroup": "g"}
    pool = _pool(name="spot", spot=True, driver="aks", reference=aks)
    tolerations = worker(made(small(), pool=pool))["spec"]["tolerations"]
    assert tolerations[0]["key"] == "kubernetes.azure.com/scalesetpriority"


def test_workers_that_talk_stay_in_one_zone() -> None:
    gpu = {"gpu": 1}
    (term,) = worker(made(small(workers=2, resourcesPerWorker=gpu)))["spec"]["affinity"][
        "podAffinity"
    ]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert term["podAffinityTerm"]["topologyKey"] == "topology.kubernetes.io/zone"
    assert "affinity" not in worker(made(small(workers=1, resourcesPerWorker=gpu)))["spec"]
    assert "affinity" not in worker(made(small(workers=2)))["spec"]


def test_pods_without_gpus_see_none() -> None:
    found = made(small(workers=2, resourcesPerWorker={"gpu": 1}))
    assert env(head(found))["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert "NVIDIA_VISIBLE_DEVICES" not in env(worker(found))
    assert env(worker(made(small())))["NVIDIA_VISIBLE_DEVICES"] == "void"


def test_hangs_are_looked_for_where_several_gpus_are_used() -> None:
    name = "RAY_TRAIN_ENABLE_NCCL_HANG_DETECTOR"
    assert name in runtime_env(made(small(workers=2, resourcesPerWorker={"gpu": 1})))
    assert name not in runtime_env(made(small(workers=1, resourcesPerWorker={"gpu": 1})))
    assert name not in runtime_env(made(small(workers=2)))


def test_only_the_autoscaler_may_talk_to_kubernetes() -> None:
    elastic = made(ELASTIC_IN_A_QUEUE.job)
    cluster = elastic["spec"]["rayClusterSpec"]
    (mount,) = cluster["autoscalerOptions"]["volumeMounts"]
    assert mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    assert mount["name"] in [v["name"] for v in head(elastic)["spec"]["volumes"]]
    container = head(elastic)["spec"]["containers"][0]
    assert mount["name"] not in [m["name"] for m in container["volumeMounts"]]
    fixed = made(small())["spec"]["rayClusterSpec"]
    assert "enableInTreeAutoscaling" not in fixed
    assert "autoscalerOptions" not in fixed


def test_the_job_goes_before_the_installation() -> None:
    settings = Settings(
        image="ours",
        image_pull_secrets=["ours"],
        service_account="ours",
        priority_class="ours",
        image_pull_policy="Always",
    )
    pod = worker(made(small(), settings))["spec"]
    assert pod["containers"][0]["image"] == "ours"
    assert pod["containers"][0]["imagePullPolicy"] == "Always"
    assert pod["serviceAccountName"] == pod["priorityClassName"] == "ours"
    assert pod["imagePullSecrets"] == [{"name": "ours"}]
    mine = {
        "image": "mine",
        "imagePullSecrets": [],
        "serviceAccount": "mine",
        "priorityClass": "mine",
        "imagePullPolicy": "Never",
    }
    pod = worker(made(small(kubernetes=mine), settings))["spec"]
    assert pod["containers"][0]["image"] == "mine"
    assert pod["containers"][0]["imagePullPolicy"] == "Never"
    assert pod["serviceAccountName"] == pod["priorityClassName"] == "mine"
    assert "imagePullSecrets" not in pod


def test_a_head_that_the_job_leaves_alone_is_the_installations() -> None:
    settings = Settings(head=Head(cpu=6, memory="32Gi", node_selector={"role": "system"}))
    job = small(kubernetes={"head": {"memory": "16Gi"}})
    pod = head(made(job, settings))["spec"]
    assert pod["containers"][0]["resources"]["requests"] == {"cpu": "6", "memory": "16Gi"}
    assert pod["nodeSelector"] == {"role": "system"}


def test_variables_are_there_once_and_the_jobs_win() -> None:
    settings = Settings.model_validate(
        {"env": [{"name": "A", "value": "ours"}, {"name": "B", "value": "ours"}]}
    )
    mine = {"env": [{"name": "B", "secret": {"name": "s", "key": "k"}}]}
    for template in (head, worker):
        found = template(made(small(kubernetes=mine), settings))
        assert env(found)["A"] == "ours"
        assert env(found)["B"] == {"secretKeyRef": {"name": "s", "key": "k"}}
        entries = [e["name"] for e in found["spec"]["containers"][0]["env"]]
        assert len(entries) == len(set(entries))


def test_azures_identity_is_asked_for() -> None:
    job = small(kubernetes={"serviceAccount": "trainer"})
    job.spec.storage = "az://runs"
    label = "azure.workload.identity/use"
    assert worker(made(job))["metadata"]["labels"][label] == "true"
    assert label not in worker(made(small()))["metadata"]["labels"]


def test_labels_that_kuberay_selects_by_are_its_own() -> None:
    found = made(small())
    for template in (head(found), worker(found)):
        assert not {"app.kubernetes.io/name", "app.kubernetes.io/created-by"} & set(
            template["metadata"]["labels"]
        )


def test_no_security_ids_where_the_platform_gives_them() -> None:
    context = worker(made(small(), Settings(run_as_user=None, fs_group=None)))["spec"][
        "securityContext"
    ]
    assert context == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def _pool(name: str, **spec: Any) -> GPUNodePool:
    whole = {"driver": "karpenter", "reference": {"name": name}, "maxNodes": 8, **spec}
    return GPUNodePool.model_validate({"metadata": {"name": name}, "spec": whole})


def test_what_a_job_names_on_its_claim_is_a_path_for_its_driver() -> None:
    from astrosage.spec.load import parse

    job = parse(
        {
            "metadata": {"name": "j"},
            "spec": {
                "model": "pvc://data/models/base",
                "storage": "pvc://data/runs",
                "stages": [{"name": "m", "merge": {"models": [{"model": "org/other"}]}}],
            },
        }
    )
    (group,) = groups(job)
    text = rayjob(job, group, 1, settings=Settings())["spec"]["runtimeEnvYAML"]
    handed = json.loads(yaml.safe_load(text)["env_vars"]["ASTROSAGE_JOB"])
    assert handed["spec"]["model"] == "/astrosage/storage/models/base"
    assert handed["spec"]["storage"] == "pvc://data/runs"
